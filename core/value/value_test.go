package value

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

func TestCheck(t *testing.T) {
	for text, says := range map[string]string{
		`null`: "", ` [1, -2.5e-7, "ü\u00fc\ud83d\ude00\n", {"": {}}, true, false] `: "", `"` + strings.Repeat("[", 9999) + `"`: "",
		nested(core.MaxNesting): "", `["` + strings.Repeat(`\"[`, 999) + `"]`: "", strings.Repeat(`[[]],`, 0) + `[` + strings.Repeat(`[],`, 9999) + `1]`: "",
		"":    "JSON",
		"NaN": "not JSON", "[Infinity]": "not JSON", "Inf": "not JSON", "1 2": "not JSON: invalid character '2' after top-level value at byte 3", "{'a': 1}": "not JSON",
		"01": "not JSON", "[1,]": "not JSON", `{"a":1,}`: "not JSON", "\"\x01\"": "not JSON", `"\x"`: "not JSON", "nul": "not JSON", "\ufeff1": "not JSON",
		"\"\xff\"": "not in UTF-8: byte 1", "\"ü\xc3\"": "not in UTF-8: byte 3", "\"\xed\xa0\x80\"": "not in UTF-8", "\xff\xfe1\x00": "not in UTF-8",
		`"\ud800"`: "half of a surrogate pair, which is no character: \\ud800 at byte 1", `["\ud83d\ud83d\ude00"]`: "\\ud83d at byte 2", `"\uDE00"`: "surrogate", `"\ud83d\n"`: "surrogate", `{"\ud83dx": 1}`: "surrogate",
		`"\\ud800"`: "", `"\\\ud83d\ude00\\"`: "", `"\uD83D\uDE00\u00e9"`: "", `"\"\\\\ud800"`: "",
		`[1e308, -1.7976931348623157e308, 1e-999, 0e999, 0.0e+0400, "1e999", "\\\\", "\"1e999", 12345678901234567890123]`: "", strings.Repeat("9", 308): "", `{"1e999":2e3}`: "", strings.Repeat("0.", 1) + strings.Repeat("9", 999): "",
		"1e999": "a number beyond 1.8e308, which is infinite for most languages: 1e999 at byte 0", `{"a\\":[1,"x",-1E+309]}`: "1E+309 at byte 15", strings.Repeat("9", 309): "infinite", "1" + strings.Repeat("0", 250) + "e99": "infinite",
		`["\"",1e400]`: "1e400 at byte 6", `["",1.8e308 ]`: "1.8e308 at byte 4", "-1e0400": "1e0400 at byte 1", "123456789012345678901234567890e300": "beyond 1.8e308, which is infinite for most languages: 12345678901234567890 at",
		nested(core.MaxNesting + 1): "lists and objects", strings.Repeat(`{"a":`, core.MaxNesting+1): "lists and objects", strings.Repeat("[", 6<<20): "lists and objects",
	} {
		if err := Check([]byte(text)); (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%.60q: %v, want %q", text, err, says)
		}
	}
}

// What it takes for JSON is what Go's own package does.
func FuzzCheck(f *testing.F) {
	for _, text := range []string{`{"a":[1,-2.5e+7,"x\u00e9\n",true,null]}`, `01`, `-`, `1.`, ` [ ] `, `"\x"`, `{"a":1,}`, `1 2`, ``, `"\ud800"`, "\"\xff\"", nested(600), `1e999`, `["\\",1e99]`, `{"a":{"b":1},"c":"["}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		err := Check(text)
		if err != nil && (strings.Contains(err.Error(), "inside of each other") || strings.Contains(err.Error(), "surrogate") || strings.Contains(err.Error(), "infinite")) {
			return
		}
		if want := json.Valid(text) && utf8.Valid(text); (err == nil) != want {
			t.Errorf("%q: %v, want valid %v", text, err, want)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	object := `{"name":"some name","value":12.5,"list":[1,2,3],"ok":true,"text":"öäü text"},`
	for name, text := range map[string]string{
		"small": `{"hello":"world","n":[1,2,3]}`, "string-6MiB": `"` + strings.Repeat("x", core.MaxResult-2) + `"`,
		"objects-6MiB": "[" + strings.Repeat(object, core.MaxResult/len(object)) + "1]",
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if Check([]byte(text)) != nil {
					b.Fatal()
				}
			}
		})
	}
}
