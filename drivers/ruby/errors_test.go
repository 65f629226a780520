package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// outline is an exception with those behind it, without what a test cannot know.
func outline(e core.Exception) string {
	text := e.Type + ":" + e.Message
	for _, note := range e.Notes {
		text += " +" + note
	}
	for _, c := range e.Causes {
		text += " [" + string(c.Relation) + " " + outline(c.Exception) + "]"
	}
	return text
}

const failing = `
class Hostile < StandardError
  %i[message to_s cause backtrace class detailed_message inspect hash ==].each { |name| define_method(name) { |*, **| raise "no #{name}" } }
end

class Detailed < StandardError
  def detailed_message(highlight: true, **) = "#{message} (Detailed)\ndid you mean yes? #{highlight}"
end

def chain(n)
  raise ArgumentError, "first" if n == 0
  chain(n - 1)
rescue ArgumentError
  raise ArgumentError, n.to_s
end

def handler(event:, context:)
  case event["do"]
  when "cause"
    begin
      {}.fetch(:x)
    rescue KeyError
      raise ArgumentError, "no"
    end
  when "none"
    begin
      {}.fetch(:x)
    rescue KeyError
      raise ArgumentError, "no", cause: nil
    end
  when "detailed" then raise Detailed, "no"
  when "chain" then chain(300)
  when "hostile" then raise Hostile
  when "hostile cause"
    begin
      raise Hostile
    rescue StandardError
      raise ArgumentError, "no"
    end
  when "large"
    begin
      raise "\0" * 1_000_000
    rescue RuntimeError
      raise "\0" * 1_000_000
    end
  when "child"
    child = fork { exit 3 }
    Process.wait2(child)[1].exitstatus
  when "abort" then abort "why"
  when "behind" then at_exit { puts "still running" }; exit 4
  when "signal" then raise SignalException, "TERM"
  when "exit" then exit
  else exit event["do"]
  end
end
`

// TestExceptionsBehind: what an exception was raised from is told, and what its detailed message has besides,
// and nothing in them is fatal.
func TestExceptionsBehind(t *testing.T) {
	h := newHouse(t, map[string]string{"handler.rb": failing})
	s := h.Instance(t, h.Root(t), nil)
	raised := func(do string) core.Exception {
		t.Helper()
		answer := drivertest.Ask(t, s, fmt.Sprintf(`{"do":%q}`, do))
		var e core.Exception
		if err := json.Unmarshal([]byte(answer[1:]), &e); err != nil || answer[0] != 'X' || len(answer) > core.MaxResult {
			t.Fatalf("%s: %.300s, %v", do, answer, err)
		}
		return e
	}
	const unreadable = "Hostile:(its text cannot be had: its message raises)"
	for do, want := range map[string]string{
		"cause":         "ArgumentError:no [cause KeyError:key not found: :x]",
		"none":          "ArgumentError:no",
		"detailed":      "Detailed:no +no (Detailed)\ndid you mean yes? false",
		"hostile":       unreadable,
		"hostile cause": "ArgumentError:no [cause " + unreadable + "]",
	} {
		if e := raised(do); outline(e) != want {
			t.Errorf("%s: %s", do, outline(e))
		} else if do == "cause" && !strings.Contains(fmt.Sprint(e.Causes[0].Stack), "handler.rb:") {
			t.Errorf("the stack of the cause: %q", e.Causes[0].Stack)
		}
	}
	if got := outline(raised("chain")); strings.Count(got, "[cause") != 16 || !strings.Contains(got, "(there are more exceptions behind it)") {
		t.Errorf("%s", got)
	}
	if got := outline(raised("large")); len(got) > 256<<10 || !strings.Contains(got, "[cause") {
		t.Errorf("%.300s, %d bytes", got, len(got))
	}
}

// TestExitsAreTold: the process of a handler that asks for its end says where, after all that is to run then.
func TestExitsAreTold(t *testing.T) {
	h := newHouse(t, map[string]string{"handler.rb": failing})
	root := h.Root(t)
	for do, want := range map[string]string{`3`: "SystemExit:code 3", `true`: "SystemExit:code 0", `"exit"`: "SystemExit:code 0", `"abort"`: "SystemExit:why",
		`"behind"`: "SystemExit:code 4", `"signal"`: "SignalException:SIGTERM"} {
		answer := drivertest.Ask(t, h.Instance(t, root, nil), `{"do":`+do+`}`)
		var e core.Exception
		if err := json.Unmarshal([]byte(answer[1:]), &e); err != nil || answer[0] != 'D' || outline(e) != want || !strings.Contains(fmt.Sprint(e.Stack), "handler.rb:") {
			t.Errorf("%s: %s, %v", do, answer, err)
		}
	}
	if got := drivertest.Ask(t, h.Instance(t, root, nil), `{"do":"child"}`); got != "R3" {
		t.Errorf("a child that exits with 3: %s", got)
	}
}
