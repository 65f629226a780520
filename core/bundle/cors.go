package bundle

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

var (
	origin    = regexp.MustCompile(`^(\*|[a-z][a-z0-9+.-]*://[a-z0-9.-]+(:[0-9]{1,5})?|[a-z][a-z0-9+.-]*://\[[0-9a-f:]+\](:[0-9]{1,5})?)$`)
	fieldName = regexp.MustCompile(`^[A-Za-z0-9!#$%&'*+.^_|~-]+$`)
)

// cors reads what pages of other sites may ask.
func (f field) cors() (*core.CORS, error) {
	c := &core.CORS{}
	lists := map[string]*[]string{"origins": &c.Origins, "methods": &c.Methods, "headers": &c.Headers, "expose": &c.Expose}
	err := f.each(func(one field) (err error) {
		switch one.key {
		case "credentials":
			c.Credentials, err = one.boolean()
		case "max_age":
			c.MaxAge, err = one.duration(time.Second, 24*time.Hour)
		case "origins", "methods", "headers", "expose":
			var list []string
			list, err = one.list(one.key + " of CORS")
			for i := 0; err == nil && i < len(list); i++ {
				if one.key == "origins" && !origin.MatchString(list[i]) {
					return one.errorf("%q is no origin; write one as https://app.example.com, without a path, or '*' for all", list[i])
				}
				if one.key != "origins" && !fieldName.MatchString(list[i]) {
					return one.errorf("%q is no name", list[i])
				}
				if one.key == "headers" || one.key == "expose" {
					list[i] = strings.ToLower(list[i])
				}
			}
			*lists[one.key] = list
		default:
			return one.errorf("there is no such key; CORS has origins, methods, headers, expose, credentials, max_age")
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case len(c.Origins) == 0:
		return nil, f.errorf("it has no origins; name the sites whose pages may ask, as origins: [https://app.example.com]")
	case c.Credentials && slices.Contains(c.Origins, "*"):
		return nil, f.errorf("browsers send no credentials where every origin may ask; name the origins, or leave credentials out")
	}
	return c, nil
}
