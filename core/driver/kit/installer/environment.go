package installer

import (
	"net/url"
	"os"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Certificates is the file with the certificates that the host trusts, on Debian and its relatives. Every
// sandbox shows it.
const Certificates = "/etc/ssl/certs/ca-certificates.crt"

// Offline is the environment of a program that reads files and reaches nobody.
func Offline() []string {
	return []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "HOME=" + core.ScratchDir}
}

// Env is the environment of an installer, with more variables of the driver's own. Third-party code may run
// in it, so it has nothing of the host. The way out is the proxy at core.RelayAddress, without exceptions.
func Env(more ...string) []string {
	env := Offline()
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		env = append(env, name+"=http://"+core.RelayAddress)
	}
	if _, err := os.Stat(Certificates); err == nil {
		env = append(env, "SSL_CERT_FILE="+Certificates)
	}
	return append(env, more...)
}

// Registry returns an address for core.Runtime.Registries. It has no user and password, because people see
// descriptions.
func Registry(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address[strings.LastIndex(address, "@")+1:]
	}
	u.User = nil
	return u.String()
}
