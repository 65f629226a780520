package lookalike

import (
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func TestNames(t *testing.T) {
	names := Parse("# a comment\nrequests\ncolorama\ncross-env\nboto3\nsix\nnumpy\naxios\nrask\nurllib3\nlodash\n@scope/thing\nbeautiful-soup\n", "python", "js")
	for _, test := range []struct{ name, like string }{
		{"requests", ""},                // itself
		{"six", ""},                     //
		{"sixs", ""},                    // too short to say anything
		{"request", "requests"},         // plural
		{"reqeusts", "requests"},        // swapped
		{"requestz", "requests"},        // another letter
		{"rrequests", "requests"},       // one more
		{"equests", "requests"},         // one less
		{"colourama", "colorama"},       //
		{"co1orama", "colorama"},        // looks alike
		{"colоrama", "colorama"},        // with a Cyrillic letter
		{"crossenv", "cross-env"},       // without its hyphen
		{"cross_env", "cross-env"},      //
		{"urllib", ""},                  // another version of it
		{"urllib2", ""},                 //
		{"python-requests", "requests"}, //
		{"lodash-js", "lodash"},         //
		{"lodash-jsx", ""},              //
		{"@scope/thingy", "@scope/thing"},
		{"requests-toolbelt", ""},
		{"", ""},
		{"numpyy", "numpy"}, // a letter twice
		{"nnumpy", "numpy"},
		{"nuumpy", "numpy"},
		{"nmupy", "numpy"}, // swapped
		{"axois", "axios"},
		{"axoios", "axios"}, // one more inside
		{"axos", "axios"},   // one less inside
		{"lodsh", "lodash"},
		{"raks", "rask"},
		{"rrask", "rask"},
		{"nunpy", "numpy"}, // the key beside it
		{"axuos", "axios"},
		{"bumpy", ""}, // at the beginning
		{"numpi", ""}, // another letter: many are names of their own
		{"xumpy", ""},
		{"nump", ""}, // less at an end
		{"umpy", ""},
		{"numpyx", ""},
		{"numpy2", ""},
		{"num2py", ""},
		{"rak", ""},       // four letters of another name
		{"rasks", "rask"}, // plural
		{"task", ""},
		{"ra", ""},
	} {
		found := names.Suspicions([]core.Package{{Name: test.name, Version: "1"}})
		switch {
		case test.like == "" && len(found) > 0:
			t.Errorf("%q: %s", test.name, found[0].Reason)
		case test.like != "" && (len(found) != 1 || !strings.Contains(found[0].Reason, "popular "+test.like)):
			t.Errorf("%q is not told to be like %q: %v", test.name, test.like, found)
		}
	}
}

// TestSameAgain: two scans of a name that is close to several say the same.
func TestSameAgain(t *testing.T) {
	names := Parse("requesty\nrequestx\nrequestw\n")
	for range 30 {
		if found := names.Suspicions([]core.Package{{Name: "requestz", Version: "1"}}); len(found) != 1 || !strings.HasSuffix(found[0].Reason, "requestw") {
			t.Fatal(found)
		}
	}
}
