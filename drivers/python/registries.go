package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/interpreter"
)

// certificatesFile is where in an installer's sandbox the certificates are that the operator trusts, when
// they are not the system's.
const certificatesFile = toolsDir + "/certificates.pem"

// systemCertificates is the directory that every sandbox shows.
const systemCertificates = "/etc/ssl/certs/"

// sources is where packages come from.
type sources struct {
	env        []string // of uv; may have secrets in it
	mounts     []core.Mount
	registries []string
	problems   []string
}

// operatorSources asks the interpreter where the operator has packages come from: it can read the files of
// pip and uv.
func operatorSources(ctx context.Context, path, files string) (sources, error) {
	var answer struct {
		Env          map[string]string `json:"env"`
		Registries   []string          `json:"registries"`
		Certificates string            `json:"certificates"`
		Problems     []string          `json:"problems"`
	}
	cmd := exec.CommandContext(ctx, path, "-I", "-S", "-B", filepath.Join(files, "registries.py"))
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8"}
	for _, entry := range os.Environ() {
		if strings.HasPrefix(entry, "PIP_") || strings.HasPrefix(entry, "UV_") || strings.HasPrefix(entry, "SSL_CERT_FILE=") {
			cmd.Env = append(cmd.Env, entry)
		}
	}
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &answer)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
	}
	if err != nil {
		return sources{}, err
	}
	s := sources{registries: answer.Registries, problems: answer.Problems}
	for name, value := range answer.Env {
		s.env = append(s.env, name+"="+value)
	}
	switch file := answer.Certificates; {
	case file == "" || strings.HasPrefix(filepath.Clean(file), systemCertificates):
	case !interpreter.Exists(file):
		s.problems = append(s.problems, fmt.Sprintf("the certificates for package indexes, %s, do not exist: those of the system are used; put them there, or name others", file))
	default:
		s.mounts = append(s.mounts, core.Mount{Source: file, Target: certificatesFile})
		s.env = append(s.env, "SSL_CERT_FILE="+certificatesFile)
	}
	return s, nil
}
