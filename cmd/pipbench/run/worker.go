package run

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/registry"
	"github.com/pipsqueak-faas/pipsqueak/gateway/client"
)

// Worker is a worker of Pipsqueak that was started to be measured.
type Worker struct {
	Pipsqueak
	command *exec.Cmd
	sources string // directory of apt's sources; empty for the machine's own
	log     bytes.Buffer
}

// StartWorker starts the program pipsqueak with a data directory and further flags. It installs artificial
// packages from a registry, or with nil what the machine's own settings say. The caller closes it.
func StartWorker(ctx context.Context, program, data string, packages *registry.Server, flags ...string) (*Worker, error) {
	words := append([]string{program, "serve", "--network", "none", "--listen", "127.0.0.1:0", "--data", data}, flags...)
	w := &Worker{}
	environment := os.Environ()
	if packages != nil {
		at := packages.Address
		environment = append(environment, "UV_DEFAULT_INDEX="+at+"/python/simple", "NPM_CONFIG_REGISTRY="+at+"/node/", "PIPSQUEAK_GEM_SOURCE="+at+"/ruby/")
		var err error
		if w.sources, err = debianSources(ctx, at); err != nil {
			return nil, err
		}
		if w.sources != "" { // of this worker alone
			words = append([]string{"unshare", "--mount", "--propagation", "private", "sh", "-ec",
				`mount --bind "$1" /etc/apt/sources.list.d; shift; exec "$@"`, "sh", w.sources}, words...)
		}
	}
	w.command = exec.Command(words[0], words[1:]...) // Close ends it
	w.command.Env, w.command.Stderr = environment, &w.log
	out, err := w.command.StdoutPipe()
	if err == nil {
		err = w.command.Start()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(w.sources))
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	address, listens := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !listens {
		_ = w.command.Process.Kill()
		_ = w.command.Wait() // its log says more
		return nil, errors.Join(fmt.Errorf("%s does not listen: %s", program, end(w.log.Bytes())), os.RemoveAll(w.sources))
	}
	w.Client = client.New(address)
	w.Client.HTTP = Connections()
	return w, nil
}

// debianSources is a directory with the registry's entry for apt; none if it has no libraries.
func debianSources(ctx context.Context, address string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/native/pipbench.sources", nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return "", err
	}
	dir, err := os.MkdirTemp("", "pipbench-")
	if err == nil {
		err = os.Chmod(dir, 0o755) // installers have no privilege
	}
	if err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "pipbench.sources"), text, 0o644)
}

// Close has the worker end, and waits.
func (w *Worker) Close() error {
	_ = w.command.Process.Signal(syscall.SIGTERM)
	err := w.command.Wait()
	if err != nil {
		err = fmt.Errorf("the worker did not end as it should: %w: %s", err, end(w.log.Bytes()))
	}
	return errors.Join(err, os.RemoveAll(w.sources))
}
