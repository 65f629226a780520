package zygote

import (
	"net/url"
	"os"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Certificates is where Debian and its kin keep those that the host trusts. Every sandbox shows it.
const Certificates = "/etc/ssl/certs/ca-certificates.crt"

// InstallEnv is the environment of an installer, in which third-party code may run, with more of the driver's own: nothing of the host,
// and as the way out the proxy at core.RelayAddress, which has no exceptions.
func InstallEnv(more ...string) []string {
	env := []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "HOME=" + core.ScratchDir}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		env = append(env, name+"=http://"+core.RelayAddress)
	}
	if _, err := os.Stat(Certificates); err == nil {
		env = append(env, "SSL_CERT_FILE="+Certificates)
	}
	return append(env, more...)
}

// Registry returns an address as core.Runtime has it among its Registries: without a user and password, for descriptions are shown to people.
func Registry(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address[strings.LastIndex(address, "@")+1:]
	}
	u.User = nil
	return u.String()
}
