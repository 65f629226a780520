package supply

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// maxRefused bounds how many refused addresses of one installer are reported.
const maxRefused = 20

// explainRefused adds to the error of an installer which addresses it was refused.
func explainRefused(err error, refused []string) error {
	if err == nil || len(refused) == 0 {
		return err
	}
	e := core.AsError(err)
	e.Message += fmt.Sprintf("; it tried to reach %s, which is no registry: the operator of the worker allows it with PIPSQUEAK_REGISTRIES", strings.Join(refused, ", "))
	return e
}

// explainUnreached adds to the error of an installer which registries the worker could not reach for it, and
// why.
func explainUnreached(err error, unreached map[string]string) error {
	if err == nil || len(unreached) == 0 {
		return err
	}
	e := core.AsError(err)
	for _, address := range slices.Sorted(maps.Keys(unreached)) {
		e.Message += fmt.Sprintf("; the worker could not reach %s: %s", address, unreached[address])
	}
	e.Message += "; see that its machine does, with HTTPS_PROXY and NO_PROXY in the worker's environment if they are needed"
	return e
}

// credentials are those in an address.
var credentials = regexp.MustCompile(`(://)[^/@\s"'` + "`" + `]+@`)

// withoutCredentials takes out of an error what tools have said of addresses with a name and a password.
func withoutCredentials(err error) error {
	e := core.AsError(err)
	if e == nil || !credentials.MatchString(e.Message) {
		return err
	}
	clean := *e
	clean.Message = credentials.ReplaceAllString(e.Message, "$1")
	return &clean
}

// explainEntry adds to the error of an installer why it did not get into its sandbox, when that is so.
func explainEntry(err error, s Sandbox) error {
	_, _, entry := s.Entered()
	if entry == nil {
		return err
	}
	e := core.AsError(err)
	e.Message += "; " + entry.Error()
	return e
}
