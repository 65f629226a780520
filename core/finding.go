package core

// Finding is one thing that was looked at on this machine, for the person who runs it.
type Finding struct {
	Name   string `json:"name"` // of the thing, "cgroup"
	Status Status `json:"status"`
	Detail string `json:"detail"`         // what was found
	Fix    string `json:"mend,omitempty"` // what to do about it; there is one unless the status is ok
}

// Status says how good what was found is.
type Status string

// How good a finding can be.
const (
	StatusOK   Status = "ok"
	StatusWarn Status = "warn" // something will be slower, weaker or missing
	StatusFail Status = "fail" // something that is needed does not work
)
