package main

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// outline is an exception with those behind it, without what a test cannot know.
func outline(e core.Exception) string {
	text := e.Type + ":" + e.Message
	for _, c := range e.Causes {
		text += " [" + string(c.Relation) + " " + outline(c.Exception) + "]"
	}
	return text
}

// TestExceptionsBehind: what an exception of C++ has nested in it is told, and by what a handler ends its
// process.
func TestExceptionsBehind(t *testing.T) {
	h := newHouse(t)
	_, err := exec.LookPath("c++")
	coretest.Requires(t, coretest.Found("c++", err == nil))
	compile := exec.Command("c++", "-xc++", "-", "-shared", "-fPIC", "-Iruntime/include", "-o", h.Code+"/handler.so")
	compile.Stdin = strings.NewReader(`#include <pipsqueak.hpp>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <unistd.h>
#include <sys/wait.h>
static void chain(int n)
{
    if (n == 0)
        throw std::range_error("first");
    try {
        chain(n - 1);
    } catch (...) {
        std::throw_with_nested(std::runtime_error(std::to_string(n)));
    }
}
template <typename T> struct holds : std::exception { };
static std::string run(std::string_view event, pipsqueak::context &)
{
    if (event == "1") {
        try {
            throw std::range_error("why");
        } catch (...) {
            std::throw_with_nested(std::invalid_argument("no"));
        }
    }
    if (event == "2") {
        try {
            throw 5;
        } catch (...) {
            std::throw_with_nested(std::runtime_error("no"));
        }
    }
    if (event == "3")
        chain(300);
    if (event == "4")
        throw std::runtime_error("again");
    if (event == "5") {
        int status = 0;
        pid_t child = fork();
        if (child == 0)
            exit(3);
        waitpid(child, &status, 0);
        return std::to_string(WEXITSTATUS(status));
    }
    using namespace std::string_literals;
    if (event == "7")
        throw 42;
    if (event == "8")
        throw -2.5;
    if (event == "9")
        throw "a text";
    if (event == "10")
        throw "an object"s;
    if (event == "11")
        throw static_cast<const char *>(nullptr);
    if (event == "12")
        throw 18446744073709551615u;
    if (event == "13")
        throw std::string_view("a view of it", 6);
    if (event == "14")
        throw 0.1f;
    if (event == "15")
        throw holds<holds<int>>();
    if (event == "16") {
        try {
            throw holds<int>();
        } catch (...) {
            std::throw_with_nested(holds<holds<int>>());
        }
    }
    std::printf("half a line");
    exit(259);
}
PIPSQUEAK_HANDLER(handler, run)
`)
	if said, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	s := h.Instance(t, h.Root(t), nil)
	told := func(event string) string {
		t.Helper()
		answer := drivertest.Ask(t, s, event)
		var e core.Exception
		if err := json.Unmarshal([]byte(answer[1:]), &e); err != nil {
			t.Fatalf("%.1000s: %v", answer, err)
		}
		return answer[:1] + outline(e)
	}
	for event, want := range map[string]string{
		"1":  "std::invalid_argument:no [cause std::range_error:why]",
		"2":  "std::runtime_error:no [cause int:5]",
		"4":  "std::runtime_error:again",
		"7":  "int:42",
		"8":  "double:-2.5",
		"9":  "char const*:a text",
		"10": "std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> >:an object",
		"11": "char const*:",
		"12": "unsigned long:18446744073709551615",
		"13": "std::basic_string_view<char, std::char_traits<char> >:a view",
		"14": "float:0.1",
		"15": "holds<holds<int> >:std::exception",
		"16": "holds<holds<int> >:std::exception [cause holds<int>:std::exception]",
	} {
		if got := told(event); got != "X"+want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got := told("3"); strings.Count(got, "[cause") != 16 {
		t.Errorf("of 300 exceptions inside of each other: %s", got)
	}
	if got := drivertest.Ask(t, s, "5"); got != "R3" {
		t.Errorf("a child that exits with 3: %s", got)
	}
	if got := told("6"); got != "Dexit:code 3" {
		t.Errorf("exit(259): %s", got)
	}
}

// TestLongNames: a crash is reported however long the names on its stack are.
func TestLongNames(t *testing.T) {
	h := newHouse(t)
	name, file := strings.Repeat("n", 2000), strings.Repeat("l", 250)+".so"
	compile := func(source string, args ...string) {
		cmd := exec.Command("cc", append([]string{"-xc", "-", "-O0", "-shared", "-fPIC", "-Iruntime/include"}, args...)...)
		cmd.Stdin = strings.NewReader(strings.ReplaceAll(source, "NAME", name))
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, said)
		}
	}
	compile("int NAME(int n) { return n ? NAME(n - 1) + 1 : *(volatile int *)8; }", "-o", h.Code+"/"+file)
	compile(`#include <pipsqueak.h>
extern int NAME(int);
PS_EXPORT void handler(ps_context *c, const char *event, size_t size) { NAME(100); }
`, "-o", h.Code+"/handler.so", "-Wl,-rpath,$ORIGIN", "-L"+h.Code, "-l:"+file)
	answer := drivertest.Ask(t, h.Instance(t, h.Root(t), nil), "1")
	var e core.Exception
	if err := json.Unmarshal([]byte(answer[1:]), &e); answer[0] != 'D' || err != nil {
		t.Fatalf("%.100s … %s: %v", answer, answer[max(0, len(answer)-100):], err)
	}
	if len(e.Stack) != 61 || !strings.HasPrefix(e.Stack[60], file+": "+name[:999]+"+0x") {
		t.Errorf("%d frames, the innermost %.1300q", len(e.Stack), e.Stack)
	}
}
