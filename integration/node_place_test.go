package integration

import "testing"

// TestNodeRoot has packages that find the function's directory as app-root-path does, and by require.main, when a zygote imports them.
func TestNodeRoot(t *testing.T) {
	system(t)
	requires(t, Node)
	r := newNPMIndex(t)
	r.add("rooted", "1.0.0", nil, files{"index.js": "exports.root = process.env.APP_ROOT_PATH ?? __dirname.split('/node_modules')[0];\nexports.main = require.main;"})
	w := r.worker(t)
	w.deploy(t, "rooted", files{"package.json": `{"dependencies":{"rooted":"1.0.0"}}`, "pipsqueak.yaml": "handler: src/app.handler\nreuse: false\n", "src/app.js": `
const { root, main } = require('rooted');
exports.handler = async () => [root, main.filename, main === require.main, main === module];
`})
	w.starts(t, "rooted", `{}`, `["/function","/function/src/app.js",true,false]`)
}
