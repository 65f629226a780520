package v1

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"mime/multipart"
	"net/textproto"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// fakeApplications is a fakeService that knows applications, and reports of each function what came of it.
type fakeApplications struct{ fakeService }

func (f *fakeApplications) DeployApplication(_ context.Context, r core.ApplicationRequest, _ func(core.Progress)) (core.Application, error) {
	deployed := core.Application{Name: r.Name}
	for one, err := range r.Functions {
		if err != nil {
			return core.Application{}, err
		}
		code, err := io.ReadAll(one.Archive)
		if err != nil {
			return core.Application{}, core.Errorf(core.KindInvalid, core.FaultCaller, "the archive breaks off: %w", err)
		}
		deployed.Functions = append(deployed.Functions, core.Function{Name: one.Name, Code: fmt.Sprintf("%s %s %v", code, one.Signature, one.Again)})
	}
	return deployed, nil
}

func (f *fakeApplications) RemoveApplication(_ context.Context, name string) ([]string, error) {
	if name != "shop" {
		return nil, core.Errorf(core.KindNotFound, core.FaultCaller, "there is no application %q", name)
	}
	return []string{"cart", "till"}, nil
}

func (f *fakeApplications) service() core.Service {
	service := f.fakeService.service()
	service.Applications = f
	return service
}

func TestApplications(t *testing.T) {
	url := serve(t, &fakeApplications{}).URL
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for _, name := range []string{"cart", "till"} {
		part, err := form.CreatePart(textproto.MIMEHeader{"Content-Disposition": {`form-data; name="` + name + `"`},
			"Pipsqueak-Signature": {base64.StdEncoding.EncodeToString([]byte("by " + name))}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(part, "code of "+name); err != nil {
			t.Fatal(err)
		}
	}
	form.Close()
	media := "Content-Type: " + form.FormDataContentType()
	got := ask(t, "PUT", url+"/v1/applications/shop?anew=true", body.String(), media)
	if got.status != 200 || !strings.HasPrefix(got.body, `{"name":"shop","functions":[{"name":"cart"`) ||
		!strings.Contains(got.body, "code of cart by cart true") || !strings.Contains(got.body, "code of till by till true") {
		t.Errorf("%+v", got)
	}
	if got := ask(t, "PUT", url+"/v1/applications/shop", body.String(), media, "Accept: application/x-ndjson"); !strings.HasPrefix(got.body, `{"application":{"name":"shop"`) {
		t.Errorf("%+v", got)
	}
	if got := ask(t, "DELETE", url+"/v1/applications/shop", ""); got.status != 200 || !strings.HasPrefix(got.body, `{"removed":["cart","till"]}`) {
		t.Errorf("%+v", got)
	}
	for _, test := range []struct {
		method, path, body, media string
		status                    int
		says                      string
	}{
		{"DELETE", "nobody", "", media, 404, "no application"},
		{"GET", "shop", "", media, 405, "PUT"},
		{"PUT", "a%2Fb", body.String(), media, 400, "not allowed"},
		{"PUT", "shop", "PK", "Content-Type: application/zip", 400, "curl -X PUT -F NAME=@FILE"},
		{"PUT", "shop", body.String()[:150], media, 400, "breaks off"},
		{"PUT", "shop", body.String()[:strings.LastIndex(body.String(), "--"+form.Boundary()+"--")], media, 400, "breaks off"},
		{"PUT", "shop", body.String()[:strings.LastIndex(body.String(), "\r\n--"+form.Boundary()+"\r\n")], media, 400, "breaks off"},
		{"PUT", "shop", strings.Replace(body.String(), `name="till"`, `name="../x"`, 1), media, 400, "not allowed"},
		{"PUT", "shop?anew=perhaps", body.String(), media, 400, "true or false"},
	} {
		got := ask(t, test.method, url+"/v1/applications/"+test.path, test.body, test.media)
		if got.status != test.status || !strings.Contains(got.body, test.says) {
			t.Errorf("%s %s: %+v", test.method, test.path, got)
		}
	}
	if got := ask(t, "PUT", serve(t, &fakeService{}).URL+"/v1/applications/shop", "", media); got.status != 501 {
		t.Errorf("%+v", got)
	}
}
