package sandbox

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// policyText says which system calls the processes of sandboxes may make, for people too.
//
//go:embed syscalls.policy
var policyText string

// The sections of the policy.
const (
	everyProcess = "every process"
	ofZygote     = "a zygote"
	ofConnected  = "asked first"
	onRequest    = "on request"
)

// rules are what is said of some system calls, by name. What is said of none is refused.
type rules map[string]rule

// rule is what is said of one call.
type rule struct {
	ways  [][]condition // it is allowed when all conditions of one of them hold
	errno unix.Errno    // with which it is refused, 0 for an allowed one
	asked []condition   // when one of them holds for a call that is allowed, core is asked first
}

// condition is about the lower 32 bits of an argument. The kernel takes the arguments of the policy for ints,
// and so whatever is in the other half.
type condition struct {
	argument uint32
	operator string // "in", "not in", "lacks"
	values   []uint32
}

// rulesFor returns the rules for a process of that role, which may be connected to a network, and whose
// runtime has asked for some calls.
func rulesFor(role core.Role, connected bool, asked []string) (rules, error) {
	policy, err := parsePolicy(policyText)
	if err != nil {
		return nil, err
	}
	out := policy[everyProcess]
	for _, name := range asked {
		r, found := policy[onRequest][name]
		if _, always := out[name]; !found && !always {
			return nil, core.Errorf(core.KindUnsupported, core.FaultDriver, "its driver asks for the system call %q, which is not one of those that "+
				"a driver can ask for: %s", name, strings.Join(slices.Sorted(maps.Keys(policy[onRequest])), ", "))
		}
		if found {
			out[name] = r
		}
	}
	if role == core.RoleZygote {
		maps.Copy(out, policy[ofZygote])
	}
	if connected {
		for name, first := range policy[ofConnected] {
			r := out[name]
			for _, way := range first.ways {
				r.asked = append(r.asked, way...)
			}
			out[name] = r
		}
	}
	return out, nil
}

func parsePolicy(text string) (map[string]rules, error) {
	out := map[string]rules{}
	var section rules
	number := 0
	for line := range strings.Lines(text) {
		number++
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		if name, is := strings.CutPrefix(line, "["); is {
			section = rules{}
			out[strings.TrimSuffix(name, "]")] = section
			continue
		}
		if err := section.add(line); err != nil {
			return nil, fmt.Errorf("syscalls.policy, line %d: %w", number, err)
		}
	}
	return out, nil
}

// add adds what a line says.
func (s rules) add(line string) error {
	names, of, conditional := strings.Cut(line, ":")
	var r rule
	if word, refused := strings.CutPrefix(strings.TrimSpace(of), "return "); refused {
		value, known := constants[word]
		if !known {
			return fmt.Errorf("unknown error %q", word)
		}
		r.errno = unix.Errno(value)
	} else {
		way, err := parseWay(of, conditional)
		if err != nil {
			return err
		}
		r.ways = [][]condition{way}
	}
	for _, name := range strings.Fields(names) {
		before, twice := s[name]
		if twice && (!conditional || r.errno != 0 || before.errno != 0 || len(before.ways[0]) == 0) {
			return fmt.Errorf("system call %s is there twice", name)
		}
		s[name] = rule{ways: append(before.ways, r.ways...), errno: r.errno}
	}
	return nil
}

func parseWay(text string, conditional bool) (way []condition, err error) {
	if !conditional {
		return nil, nil
	}
	for part := range strings.SplitSeq(text, " and ") {
		argument, test, _ := strings.Cut(strings.TrimSpace(part), " ")
		index, err := strconv.ParseUint(strings.TrimPrefix(argument, "arg"), 10, 32)
		if err != nil || index > 5 {
			return nil, fmt.Errorf("condition %q is not about arg0 to arg5", part)
		}
		c := condition{argument: uint32(index)}
		for _, operator := range []string{"not in", "in", "lacks"} {
			values, is := strings.CutPrefix(test, operator+" ")
			if !is {
				continue
			}
			c.operator = operator
			for _, word := range strings.Fields(values) {
				value, known := constants[word]
				if !known {
					number, err := strconv.ParseUint(word, 0, 32)
					if err != nil {
						return nil, fmt.Errorf("unknown value %q", word)
					}
					value = uint32(number)
				}
				c.values = append(c.values, value)
			}
			break
		}
		if len(c.values) == 0 {
			return nil, fmt.Errorf("condition %q has no operator, or no value", part)
		}
		way = append(way, c)
	}
	return way, nil
}

// constants are the names that the policy has for numbers.
var constants = map[string]uint32{
	"ENOSYS": uint32(unix.ENOSYS), "PER_LINUX": 0, "PER_QUERY": 0xffffffff,
	"TIOCSTI": unix.TIOCSTI, "TIOCLINUX": 0x541c, "MS_REMOUNT": unix.MS_REMOUNT,

	"CLONE_NEWNS": unix.CLONE_NEWNS, "CLONE_NEWCGROUP": unix.CLONE_NEWCGROUP, "CLONE_NEWUTS": unix.CLONE_NEWUTS,
	"CLONE_NEWIPC": unix.CLONE_NEWIPC, "CLONE_NEWUSER": unix.CLONE_NEWUSER, "CLONE_NEWPID": unix.CLONE_NEWPID, "CLONE_NEWNET": unix.CLONE_NEWNET,

	"AF_UNIX": unix.AF_UNIX, "AF_INET": unix.AF_INET, "AF_INET6": unix.AF_INET6, "AF_NETLINK": unix.AF_NETLINK, "NETLINK_ROUTE": unix.NETLINK_ROUTE,
	"IPPROTO_ICMP": unix.IPPROTO_ICMP, "IPPROTO_TCP": unix.IPPROTO_TCP, "IPPROTO_UDP": unix.IPPROTO_UDP, "IPPROTO_ICMPV6": unix.IPPROTO_ICMPV6,
	"IPPROTO_IPV6": unix.IPPROTO_IPV6, "IPV6_FLOWLABEL_MGR": 32,

	"SECCOMP_SET_MODE_STRICT": unix.SECCOMP_SET_MODE_STRICT, "SECCOMP_SET_MODE_FILTER": unix.SECCOMP_SET_MODE_FILTER,
	"SECCOMP_GET_ACTION_AVAIL": unix.SECCOMP_GET_ACTION_AVAIL, "SECCOMP_FILTER_FLAG_NEW_LISTENER": unix.SECCOMP_FILTER_FLAG_NEW_LISTENER,
	"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,

	"PR_CAPBSET_DROP": unix.PR_CAPBSET_DROP, "PR_CAPBSET_READ": unix.PR_CAPBSET_READ, "PR_CAP_AMBIENT": unix.PR_CAP_AMBIENT,
	"PR_GET_AUXV": unix.PR_GET_AUXV, "PR_GET_CHILD_SUBREAPER": unix.PR_GET_CHILD_SUBREAPER, "PR_GET_DUMPABLE": unix.PR_GET_DUMPABLE,
	"PR_GET_KEEPCAPS": unix.PR_GET_KEEPCAPS, "PR_GET_MDWE": unix.PR_GET_MDWE, "PR_GET_NAME": unix.PR_GET_NAME,
	"PR_GET_NO_NEW_PRIVS": unix.PR_GET_NO_NEW_PRIVS, "PR_GET_PDEATHSIG": unix.PR_GET_PDEATHSIG, "PR_GET_SECCOMP": unix.PR_GET_SECCOMP,
	"PR_GET_SECUREBITS": unix.PR_GET_SECUREBITS, "PR_GET_SPECULATION_CTRL": unix.PR_GET_SPECULATION_CTRL,
	"PR_GET_TAGGED_ADDR_CTRL": unix.PR_GET_TAGGED_ADDR_CTRL, "PR_GET_THP_DISABLE": unix.PR_GET_THP_DISABLE,
	"PR_GET_TID_ADDRESS": unix.PR_GET_TID_ADDRESS, "PR_GET_TIMERSLACK": unix.PR_GET_TIMERSLACK, "PR_GET_TSC": unix.PR_GET_TSC,
	"PR_PAC_RESET_KEYS": unix.PR_PAC_RESET_KEYS, "PR_SET_CHILD_SUBREAPER": unix.PR_SET_CHILD_SUBREAPER, "PR_SET_DUMPABLE": unix.PR_SET_DUMPABLE,
	"PR_SET_KEEPCAPS": unix.PR_SET_KEEPCAPS, "PR_SET_MDWE": unix.PR_SET_MDWE, "PR_SET_NAME": unix.PR_SET_NAME,
	"PR_SET_NO_NEW_PRIVS": unix.PR_SET_NO_NEW_PRIVS, "PR_SET_PDEATHSIG": unix.PR_SET_PDEATHSIG, "PR_SET_PTRACER": unix.PR_SET_PTRACER,
	"PR_SET_SECCOMP": unix.PR_SET_SECCOMP, "PR_SET_TAGGED_ADDR_CTRL": unix.PR_SET_TAGGED_ADDR_CTRL, "PR_SET_THP_DISABLE": unix.PR_SET_THP_DISABLE,
	"PR_SET_TIMERSLACK": unix.PR_SET_TIMERSLACK, "PR_SET_VMA": unix.PR_SET_VMA, "PR_SME_GET_VL": unix.PR_SME_GET_VL,
	"PR_SME_SET_VL": unix.PR_SME_SET_VL, "PR_SVE_GET_VL": unix.PR_SVE_GET_VL, "PR_SVE_SET_VL": unix.PR_SVE_SET_VL,
}
