package main

import (
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
	"github.com/pipsqueak-faas/pipsqueak/core/endpoint"
)

// TestForeignHandlers has handlers in C++ that do to the process what a library may: what they are to blame
// for is told of them, and nothing hangs.
func TestForeignHandlers(t *testing.T) {
	_, err := exec.LookPath("c++")
	coretest.Requires(t, coretest.Found("c++", err == nil))
	h := newHouse(t)
	root := h.Root(t)
	const uncaught = `D{"type":"SIGABRT","message":"the process aborted itself: uncaught exception `
	cases := map[string]string{
		`throw 1;`:                        uncaught + "int",
		`throw "text";`:                   uncaught + "char const*",
		`throw nullptr;`:                  uncaught + "decltype(nullptr)",
		`struct Odd {}; throw Odd();`:     uncaught,
		`throw std::runtime_error("no");`: uncaught + `std::runtime_error: no"`,
		`throw Virtual();`:                uncaught + `Virtual: od\"d?"`,
		`std::thread([] { throw std::runtime_error("in a thread"); }).join();`:                                         uncaught + `std::runtime_error: in a thread"`,
		`throw std::runtime_error(std::string(5000, 'x'));`:                                                            uncaught + `std::runtime_error: ` + strings.Repeat("x", 997) + `"`,
		`std::rethrow_exception(std::make_exception_ptr(std::runtime_error("again")));`:                                uncaught + `std::runtime_error: again"`,
		`struct Odd : std::exception { const char *what() const noexcept override { return nullptr; } }; throw Odd();`: `D{"type":"SIGSEGV"`, // so libstdc++ takes it
		`struct Odd : std::exception { const char *what() const noexcept override { throw 1; } }; throw Odd();`:        uncaught,
		`struct Odd { ~Odd() noexcept(false) { throw 2; } } odd; throw 1;`:                                             uncaught,
		`[]() noexcept { throw 1; }();`:                                                                                uncaught + "int",
		`std::terminate();`:                                                                                            `D{"type":"SIGABRT"`,
		`abort();`:                                                                                                     `D{"type":"SIGABRT"`,
		`raise(SIGSEGV);`:                                                                                              `D{"type":"SIGSEGV"`,
		`*(volatile int *)8 = 1;`:                                                                                      `D{"type":"SIGSEGV"`,
		`struct Deep { static int fall(int n) { volatile int deep[1 << 10]; deep[0] = n; return fall(n + 1) + deep[0]; } }; ps_result(c, "1", Deep::fall(1));`: `D{"type":"SIGSEGV"`,
		`static jmp_buf back; if (!setjmp(back)) longjmp(back, 1); ps_result(c, "1", 1);`:                                                                      "R1",
		`static jmp_buf gone; [] { if (setjmp(gone)) abort(); }(); longjmp(gone, 1);`:                                                                          `D{"type":"SIGABRT"`,
		`fclose(stdout); fclose(stderr); fclose(stdin); ps_result(c, "1", 1);`:                                                                                 "R1",
		`close(0); close(1); close(2); printf("x\n"); ps_result(c, "1", 1);`:                                                                                   "R1",
		`stdout = nullptr; ps_result(c, "1", 1);`:                                                                                                              "R1",
		`setvbuf(stdout, nullptr, _IOFBF, 1 << 20); printf("x"); ps_result(c, "1", 1);`:                                                                        "R1",
		`atexit([] { abort(); }); ps_result(c, "1", 1);`:                                                                                                       "R1",
		`atexit([] { abort(); }); exit(0);`:                                                                                                                    `D{"type":"SIGABRT"`,
		`atexit([] { _exit(3); }); exit(0);`:                                                                                                                   "",
		`exit(3);`:                                                                                                                                             "",
		`quick_exit(3);`:                                                                                                                                       "",
		`pthread_exit(nullptr);`:                                                                                                                               "",
		`std::set_terminate([] { _exit(4); }); throw 1;`:                                                                                                       "",
		`sigset_t all; sigfillset(&all); sigprocmask(SIG_BLOCK, &all, nullptr); ps_result(c, "1", 1);`:                                                         "R1",
		`signal(SIGPIPE, SIG_DFL); signal(SIGCHLD, SIG_IGN); ps_result(c, "1", 1);`:                                                                            "R1",
		`environ = nullptr; setlocale(LC_ALL, "C"); ps_result(c, "1", 1);`:                                                                                     "R1",
		`ps_result(c, "", 0);`:                                                                                                                                 `L{"kind":"invalid"`,
		`ps_result(c, "{\"a\":1}x", 8);`:                                                                                                                       `L{"kind":"invalid"`,
		`ps_result(c, "\"\xff\"", 3);`:                                                                                                                         `L{"kind":"invalid"`,
		`ps_result(c, nullptr, 0);`:                                                                                                                            `L{"kind":"invalid"`,
		`ps_error(c, nullptr, nullptr);`:                                                                                                                       `X{"type":`,
		`ps_error(c, "\xff\"", "\n\xff");`:                                                                                                                     `X{"type":`,
	}
	bodies := slices.Sorted(maps.Keys(cases))
	source := "#include <pipsqueak.h>\n#include <clocale>\n#include <csetjmp>\n#include <csignal>\n#include <cstdio>\n#include <cstdlib>\n#include <exception>\n#include <stdexcept>\n#include <thread>\n#include <pthread.h>\n#include <unistd.h>\n"
	source += "struct Virtual : virtual std::exception { int n; const char *what() const noexcept override { return \"od\\\"d\\n\"; } };\n"
	calls := "PS_EXPORT void handler(ps_context *c, const char *event, size_t size) { switch (atoi(event)) {\n"
	for n, body := range bodies {
		source += fmt.Sprintf("static void case%d(ps_context *c, const char *event, size_t size) { %s }\n", n, body)
		calls += fmt.Sprintf("case %d: case%d(c, event, size); break;\n", n, n)
	}
	cc := exec.Command("c++", "-w", "-O0", "-D_GNU_SOURCE", "-xc++", "-", "-shared", "-fPIC", "-Iruntime/include", "-o", h.Code+"/handler.so")
	cc.Stdin = strings.NewReader(source + calls + "} }\n")
	if said, err := cc.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	for n, body := range bodies {
		t.Run(body, func(t *testing.T) {
			s, event, want := h.Instance(t, root, nil), strconv.Itoa(n), cases[body]
			if want == "" {
				if err := endpoint.New(endpoint.Open(s.Endpoint(), 3)).Send(core.Invocation{ID: "r1", Event: []byte(event)}, time.Now().Add(time.Minute)); err != nil {
					t.Fatal(err)
				}
				select {
				case <-s.Done():
				case <-time.After(20 * time.Second):
					t.Error("it does not end")
				}
				return
			}
			if got := drivertest.Ask(t, s, event); !strings.HasPrefix(got, want) {
				t.Errorf("it is %.300s\n\twant %s", got, want)
			}
			if want[0] != 'D' {
				if got := drivertest.Ask(t, s, event); !strings.HasPrefix(got, want) {
					t.Errorf("the second time it is %.300s", got)
				}
			}
		})
	}
}
