package v1

import (
	"io"
	"iter"
	"mime/multipart"
	"net/http"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
)

// applicationsOf returns the name in the request's path, and the service's Applications.
func (a *api) applicationsOf(r *http.Request) (string, core.Applications, error) {
	name, err := gateway.NameOf(r)
	if err != nil {
		return "", nil, err
	}
	if a.service.Applications == nil {
		return "", nil, core.Errorf(core.KindUnsupported, core.FaultWorker, "this server knows no applications: deploy the functions one by one")
	}
	return name, a.service.Applications, nil
}

// deployApplication deploys an application. The body is a form with an archive for each function.
func (a *api) deployApplication(w http.ResponseWriter, r *http.Request) error {
	name, applications, err := a.applicationsOf(r)
	if err != nil {
		return err
	}
	options, err := optionsOf(r)
	if err != nil {
		return err
	}
	form, err := r.MultipartReader()
	if err != nil {
		return core.Errorf(core.KindInvalid, core.FaultCaller,
			"the body of an application is multipart/form-data with a part for each function, its name and its archive, as `curl -X PUT -F NAME=@FILE` sends it: %w", err)
	}
	request := core.ApplicationRequest{Name: name, Functions: partsOf(form, options)}
	return a.follow(w, r, "application", func(progress func(core.Progress)) (any, int, error) {
		deployed, err := applications.DeployApplication(r.Context(), request, progress)
		return deployed, http.StatusOK, err
	})
}

// partsOf yields the functions of a form, each with its archive, its signature and the options.
func partsOf(form *multipart.Reader, options core.DeployRequest) iter.Seq2[core.DeployRequest, error] {
	return func(yield func(core.DeployRequest, error) bool) {
		for {
			part, err := form.NextPart()
			if err == io.EOF { //nolint:errorlint // wrapped it means that the last boundary is missing, and functions with it perhaps
				return
			}
			request := options
			if err != nil {
				err = core.Errorf(core.KindInvalid, core.FaultCaller, "the body breaks off, or is no multipart/form-data: %w", err)
			} else {
				request.Name, request.Archive = part.FormName(), part
				request.Signature, err = signatureOf(part.Header)
			}
			if err == nil {
				err = gateway.CheckName(request.Name)
			}
			if !yield(request, err) || err != nil {
				return
			}
		}
	}
}

func (a *api) removeApplication(w http.ResponseWriter, r *http.Request) error {
	name, applications, err := a.applicationsOf(r)
	if err != nil {
		return err
	}
	removed, err := applications.RemoveApplication(r.Context(), name)
	if err != nil {
		return err
	}
	return gateway.WriteJSON(w, http.StatusOK, map[string][]string{"removed": removed})
}
