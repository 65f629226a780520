package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/bundle"
	"github.com/pipsqueak-faas/pipsqueak/core/signing"
)

// deployApplication deploys the functions of an application together, and reports the result unless it is
// wanted as JSON.
func (p *program) deployApplication(cmd *cobra.Command, name string, parts []bundle.Part, keys []*signing.Key, options url.Values, asJSON bool) error {
	began := p.now()
	form, err := newForm(cmd.Context(), parts, keys)
	if err != nil {
		return err
	}
	defer form.Close()
	for _, part := range parts {
		if !asJSON {
			p.reportLeftOut(part.Dir)
		}
	}
	show := p.progress()
	deployed, err := p.client().DeployApplication(cmd.Context(), name, options, form.media, show.upload(form), show.step)
	show.clear()
	switch {
	case err != nil:
		return err
	case asJSON:
		return p.printJSON(deployed)
	}
	fmt.Fprintf(p.out, "deployed the application %s: %s, in %s\n", deployed.Name, core.Count(len(deployed.Functions), "function", "functions"), p.took(began))
	rows := [][]string{}
	for _, f := range deployed.Functions {
		p.reportUnready(f, options)
		rows = append(rows, []string{"  " + f.Name, "version " + strconv.Itoa(f.Version), string(f.Runtime), core.Count(len(f.Packages), "package", "packages")})
	}
	if err := p.table(rows); err != nil || len(deployed.Removed) == 0 {
		return err
	}
	return p.reportRemoved(name, deployed.Removed, ", not listed any more")
}

// reportRemoved names the functions of an application that were removed.
func (p *program) reportRemoved(application string, functions []string, why string) error {
	_, err := fmt.Fprintf(p.out, "removed %s of the application %s%s\n", strings.Join(functions, ", "), application, why)
	return err
}

// took says how long something has taken.
func (p *program) took(began time.Time) time.Duration {
	return p.now().Sub(began).Round(10 * time.Millisecond)
}

// form is the body of an application: an archive of each function, made while it is read.
type form struct {
	*io.PipeReader
	media string
}

// newForm returns a form, with the signatures of the keys. The caller closes it.
func newForm(ctx context.Context, parts []bundle.Part, keys []*signing.Key) (form, error) {
	headers := make([]textproto.MIMEHeader, len(parts))
	for i, part := range parts {
		headers[i] = textproto.MIMEHeader{"Content-Disposition": {multipart.FileContentDisposition(part.Name, part.Name+".tar.gz")}}
		if len(keys) > 0 {
			signature, err := sign(ctx, part, keys)
			if err != nil {
				return form{}, err
			}
			maps.Copy(headers[i], signature)
		}
	}
	reader, out := io.Pipe()
	body := multipart.NewWriter(out)
	go func() {
		for i, part := range parts {
			if err := writePart(body, headers[i], part); err != nil {
				out.CloseWithError(err)
				return
			}
		}
		out.CloseWithError(body.Close())
	}()
	return form{reader, body.FormDataContentType()}, nil
}

func writePart(body *multipart.Writer, header textproto.MIMEHeader, part bundle.Part) error {
	archive, err := openArchive(part)
	if err != nil {
		return err
	}
	defer archive.Close()
	to, err := body.CreatePart(header)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, archive)
	return err
}
