package plan

// The memory that a zygote may use. One that uses more is ended, and its modules are in no zygote any more.
const (
	rootBytes  = 512 << 20 // of a root zygote, which runs no code of packages
	spareBytes = 128 << 20 // of any other, besides what it imports: pages of its zygote's that it writes to
	// Each fork takes kernel memory of the zygote's: its tables above all, which are larger the more the
	// zygote has. So there is room for those children that it has, and for some more.
	moreChildren = 32
	childBytes   = 256 << 10
	childShare   = 256 // of what the zygote may use: one part of so many
)

// ZygoteLimit returns the memory, in bytes, that a zygote of that shape may use before it is forked: twice
// what the probes of its packages and modules have seen, for a later import may take more.
func (f Facts) ZygoteLimit(s Shape) int64 {
	if len(s.Modules) == 0 {
		return rootBytes
	}
	var seen int64
	for _, p := range s.Set {
		seen += f.Needs[p].Bytes
	}
	for _, name := range s.Modules {
		seen += f.Weights[Module{s.Runtime, name}]
	}
	return spareBytes + 2*seen
}

// WithChildren returns the memory that a zygote may use which has so many children. Limit is that without
// any. It grows in steps, for each is a change.
func WithChildren(limit int64, children int) int64 {
	steps := int64(children/moreChildren + 1)
	return limit + steps*moreChildren*(childBytes+limit/childShare)
}
