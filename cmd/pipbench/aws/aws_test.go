package aws

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/functions"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/packages"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/profile"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// The account that the stand-in knows.
const key, secret, region = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "eu-central-1"

// service stands in for Lambda: it takes signed requests only, functions as archives, and events for those
// that it has run once in vain to find out whether they are ready.
type service struct {
	t       *testing.T
	dir     string // of functions
	pending map[string]int
	calls   []string
	runs    map[string]int
}

// signed tells whether a request has the signature of the account: what was signed is signed again.
func (s *service) signed(r *http.Request, body []byte) bool {
	said := r.Header.Get("Authorization")
	_, names, _ := strings.Cut(said, "SignedHeaders=")
	names, _, _ = strings.Cut(names, ",")
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || time.Since(at).Abs() > 5*time.Minute || !slices.Contains(strings.Split(names, ";"), "host") {
		return false
	}
	again := r.Clone(context.Background())
	again.Header, again.URL.Host, again.URL.Scheme, again.ContentLength = http.Header{}, r.Host, "http", 0
	for name := range strings.SplitSeq(names, ";") {
		switch name {
		case "host":
		case "content-length":
			again.ContentLength = int64(len(body))
		default:
			again.Header[http.CanonicalHeaderKey(name)] = r.Header.Values(name)
		}
	}
	digest := sha256.Sum256(body)
	err = v4.NewSigner().SignHTTP(context.Background(), sdk.Credentials{AccessKeyID: key, SecretAccessKey: secret}, again, hex.EncodeToString(digest[:]), "lambda", region, at)
	return err == nil && again.Header.Get("Authorization") == said
}

// refuse answers with an error as Lambda does.
func refuse(w http.ResponseWriter, status int, kind string) {
	w.Header().Set("X-Amzn-ErrorType", kind)
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"Type": "User", "message": "%s"}`, kind)
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	coretest.Must(s.t, err)
	if !s.signed(r, body) {
		refuse(w, http.StatusForbidden, "InvalidSignatureException")
		return
	}
	s.calls = append(s.calls, r.Method+" "+r.URL.Path)
	name, verb, _ := strings.Cut(strings.Trim(strings.TrimPrefix(r.URL.Path, "/2015-03-31/functions"), "/"), "/")
	var asked struct {
		FunctionName, Runtime, Handler, Role string
		Code                                 struct{ ZipFile []byte }
		ZipFile                              []byte
		MemorySize, Timeout                  int
	}
	if verb != "invocations" && len(body) > 0 {
		coretest.Must(s.t, json.Unmarshal(body, &asked))
	}
	_, err = os.Stat(filepath.Join(s.dir, name))
	isThere := err == nil
	switch {
	case name == "" && r.Method == http.MethodPost:
		if asked.Runtime != "python3.13" || asked.Handler != "handler.handler" || asked.Role != "arn:aws:iam::1:role/r" || asked.MemorySize != 1024 || asked.Timeout != 90 {
			refuse(w, http.StatusBadRequest, "InvalidParameterValueException")
			return
		}
		s.unzip(asked.FunctionName, asked.Code.ZipFile)
		s.pending[asked.FunctionName] = 1
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, `{"State": "Pending"}`)
	case !isThere:
		refuse(w, http.StatusNotFound, "ResourceNotFoundException")
	case verb == "code" && r.Method == http.MethodPut:
		s.unzip(name, asked.ZipFile)
		fmt.Fprint(w, `{"State": "Active", "LastUpdateStatus": "InProgress"}`)
	case verb == "" && r.Method == http.MethodGet:
		state := "Active"
		if s.pending[name] > 0 {
			state = "Pending"
			s.pending[name]--
		}
		fmt.Fprintf(w, `{"Configuration": {"State": "%s", "LastUpdateStatus": "Successful"}}`, state)
	case verb == "invocations" && r.Method == http.MethodPost && s.pending[name] == 0:
		s.invoke(w, name, body)
	default:
		refuse(w, http.StatusConflict, "ResourceConflictException")
	}
}

func (s *service) unzip(name string, archive []byte) {
	unzipped, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	coretest.Must(s.t, err)
	place := filepath.Join(s.dir, name)
	coretest.Must(s.t, os.RemoveAll(place))
	coretest.Must(s.t, os.CopyFS(place, unzipped))
	s.runs[name] = 0
}

// invoke runs the function in its directory alone, as Lambda has it in /var/task.
func (s *service) invoke(w http.ResponseWriter, name string, event []byte) {
	command := exec.CommandContext(s.t.Context(), "/usr/bin/python3", "-I", "-B", "-c",
		"import json, sys; sys.path.insert(0, '.'); import handler; print(json.dumps(handler.handler(json.load(sys.stdin), None)))")
	command.Dir, command.Stdin = filepath.Join(s.dir, name), bytes.NewReader(event)
	out, err := command.Output()
	log := "START RequestId: 1 Version: $LATEST\nEND RequestId: 1\nREPORT RequestId: 1\tDuration: 12.34 ms\tBilled Duration: 13 ms\tMemory Size: 1024 MB\tMax Memory Used: 38 MB\t"
	if s.runs[name]++; s.runs[name] == 1 {
		log += "Init Duration: 98.70 ms\t"
	}
	w.Header().Set("X-Amz-Log-Result", base64.StdEncoding.EncodeToString([]byte(log+"\n")))
	if err != nil {
		w.Header().Set("X-Amz-Function-Error", "Unhandled")
		out = []byte(`{"errorType": "KeyError", "errorMessage": "'nonce'"}`)
	}
	_, _ = w.Write(out)
}

// standIn is a stand-in for Lambda, to which the SDK's own variables point, and a function with packages.
func standIn(t *testing.T) (s *service, target *Target, f functions.Function, code string) {
	t.Helper()
	dir := t.TempDir()
	p, err := profile.Shipped("python")
	coretest.Must(t, err)
	p.Builds.Value = 0
	catalog, err := packages.Write(t.Context(), p, 30, 1, 0, dir, func(int) {})
	coretest.Must(t, err)
	set, err := functions.Write(dir, nil, 9, 1)
	coretest.Must(t, err)
	slices.SortFunc(set.Functions, func(a, b functions.Function) int { return a.Closure - b.Closure })
	i := slices.IndexFunc(set.Functions, func(f functions.Function) bool { return len(f.Packages) > 0 && f.Closure > len(f.Packages) })
	if i < 0 {
		t.Fatal("no function has a package that another one requires")
	}
	s = &service{t: t, dir: t.TempDir(), pending: map[string]int{}, runs: map[string]int{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	for name, value := range map[string]string{"AWS_ENDPOINT_URL_LAMBDA": server.URL, "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret,
		"AWS_REGION": region, "AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none", "AWS_MAX_ATTEMPTS": "1"} {
		t.Setenv(name, value)
	}
	target, err = New(t.Context(), dir, "arn:aws:iam::1:role/r")
	coretest.Must(t, err)
	t.Cleanup(func() { coretest.Must(t, target.Close()) })
	target.install = func(_ context.Context, f functions.Function, code string, _ bool) (bool, error) {
		return true, installed(t, catalog, filepath.Join(dir, "python"), f, code, target.Place(f))
	}
	return s, target, set.Functions[i], filepath.Join(dir, "functions", set.Functions[i].Name)
}

// installed installs a function as pip does: its code, and what it requires in a virtual environment, where
// pip is too.
func installed(t *testing.T, catalog *packages.Catalog, wheels string, f functions.Function, code, place string) error {
	t.Helper()
	coretest.Must(t, os.RemoveAll(place))
	coretest.Must(t, os.CopyFS(place, os.DirFS(code)))
	site := filepath.Join(place, "venv/lib/python3.11/site-packages")
	coretest.Must(t, os.MkdirAll(filepath.Join(site, "pip"), 0o755))
	coretest.Must(t, os.WriteFile(filepath.Join(site, "pip/__init__.py"), nil, 0o644))
	closure, err := catalog.Closure(f.Versions())
	coretest.Must(t, err)
	for _, one := range closure {
		wheel := filepath.Join(wheels, packages.Module(one.Name)+"-"+one.Version+"-py3-none-any.whl")
		if out, err := exec.CommandContext(t.Context(), "/usr/bin/python3", "-m", "zipfile", "-e", wheel, site).CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
	}
	return nil
}

// TestTarget deploys a function with its packages, and invokes it.
func TestTarget(t *testing.T) {
	s, target, f, code := standIn(t)
	if did, err := target.Deploy(t.Context(), f, code, false); !did || err != nil {
		t.Fatalf("a deploy: %v, %v", did, err)
	}
	if _, err := os.Stat(filepath.Join(s.dir, f.Name, "pip")); err == nil {
		t.Error("the archive has pip in it")
	}
	for _, start := range []string{"cold", "warm"} {
		a, err := target.Invoke(t.Context(), f, []byte(`{"nonce": "x1"}`))
		coretest.Must(t, err)
		coretest.Must(t, f.Check("x1", a.Result))
		if a.Start != start || a.Phases["handler"] != 12.34 || (a.Phases["import"] == 98.7) != (start == "cold") || a.Bytes != 1<<30 || a.Held != 13 {
			t.Errorf("a %s start: %+v", start, a)
		}
	}
	if _, err := target.Invoke(t.Context(), f, []byte(`{}`)); err == nil || !strings.Contains(err.Error(), "Unhandled: ") || !strings.Contains(err.Error(), "KeyError") {
		t.Errorf("a function that fails: %v", err)
	}
	if did, err := target.Deploy(t.Context(), f, code, true); did || err != nil {
		t.Errorf("a function that is there was deployed again: %v, %v", did, err)
	}
	calls := len(s.calls)
	other := f
	other.Name += "x"
	if _, err := target.Invoke(t.Context(), other, []byte(`{}`)); err == nil || len(s.calls) != calls+1 {
		t.Errorf("a function that is not there: %v, %q", err, s.calls[calls:])
	}
	other.Language = "native"
	if _, err := target.Deploy(t.Context(), other, code, false); err == nil || !strings.Contains(err.Error(), "no runtime of its own for functions in native") {
		t.Errorf("a compiled function: %v", err)
	}
	if did, err := target.Deploy(t.Context(), f, code, false); !did || err != nil || !slices.Contains(s.calls, "PUT /2015-03-31/functions/"+f.Name+"/code") {
		t.Errorf("another version: %v, %v, %q", did, err, s.calls)
	}
}

// TestSignature checks that the stand-in tells a wrong secret from the right one, and what is missing.
func TestSignature(t *testing.T) {
	_, target, f, code := standIn(t)
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret+"x")
	wrong, err := New(t.Context(), filepath.Dir(filepath.Dir(code)), "arn:aws:iam::1:role/r")
	coretest.Must(t, err)
	defer wrong.Close()
	if _, err := wrong.Deploy(t.Context(), f, code, false); err == nil || !strings.Contains(err.Error(), "InvalidSignatureException") {
		t.Errorf("a wrong secret: %v", err)
	}
	if _, err := target.Invoke(t.Context(), f, []byte(`{}`)); err == nil || strings.Contains(err.Error(), "InvalidSignatureException") {
		t.Errorf("the right secret: %v", err)
	}
	if _, err := New(t.Context(), code, ""); err == nil || !strings.Contains(err.Error(), "--role: ") {
		t.Errorf("no role: %v", err)
	}
	t.Setenv("AWS_REGION", "")
	if _, err := New(t.Context(), code, "r"); err == nil || !strings.Contains(err.Error(), "AWS_REGION") {
		t.Errorf("no region: %v", err)
	}
}

func TestPlaced(t *testing.T) {
	for _, c := range [][3]string{
		{"python", "handler.py", "handler.py"}, {"python", "venv/bin/pip", ""}, {"python", "venv/lib/python3.11/site-packages/pip/__init__.py", ""},
		{"python", "venv/lib/python3.11/site-packages/pip-23.0.dist-info/RECORD", ""}, {"python", "venv/lib/python3.11/site-packages/pipe/x.py", "pipe/x.py"},
		{"python", "venv/lib/python3.11/site-packages/a/b.py", "a/b.py"}, {"ruby", "gems/ruby/3.1.0/gems/a-1.0.0/lib/a.rb", "vendor/bundle/ruby/3.4.0/gems/a-1.0.0/lib/a.rb"},
		{"ruby", "gems/ruby/3.1.0/cache/a-1.0.0.gem", ""}, {"node", "node_modules/a/index.js", "node_modules/a/index.js"},
	} {
		if got := placed(c[0], c[1]); got != c[2] {
			t.Errorf("%s %s is placed at %q, want %q", c[0], c[1], got, c[2])
		}
	}
}
