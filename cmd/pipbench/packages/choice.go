package packages

import (
	"fmt"
	"slices"
)

// Choice is some packages of a catalog that can be installed together, each at every version that the others
// allow.
type Choice struct {
	catalog *Catalog
	places  map[string]int
	allowed map[int]span // by place, of those chosen and of what they require
}

// Choose begins a choice, of nothing.
func (c *Catalog) Choose() *Choice {
	places := map[string]int{}
	for i, p := range c.Packages {
		places[p.Name] = i
	}
	return &Choice{c, places, map[int]span{}}
}

// Again begins another one.
func (c *Choice) Again() *Choice { return &Choice{c.catalog, c.places, map[int]span{}} }

// Add chooses a package, unless something that it requires, or what requires it, excludes what is chosen
// already. With latest, it does so also unless the newest version of everything can be installed: an
// installer may never look for an older one.
func (c *Choice) Add(place int, latest bool) bool {
	found := map[int]span{}
	if !c.require(place, span{0, len(c.catalog.Packages[place].Versions) - 1}, latest, found) {
		return false
	}
	for i, s := range found {
		c.allowed[i] = s
	}
	return true
}

// require narrows what is allowed to those versions of a package, and what they require: into found, so that
// a failure changes nothing.
func (c *Choice) require(place int, s span, latest bool, found map[int]span) bool {
	old, again := found[place]
	if chosen, ok := c.allowed[place]; ok && !again {
		old, again = chosen, true
	}
	if again {
		s = s.meet(old)
	}
	p := c.catalog.Packages[place]
	if s.empty() || latest && s.last < len(p.Versions)-1 {
		return false
	}
	found[place] = s
	if again {
		return true
	}
	for _, r := range p.Requires {
		d := c.places[r.Package]
		if !c.require(d, c.catalog.Packages[d].allowed(r), latest, found) {
			return false
		}
	}
	return true
}

// Versions are those at which a chosen package can be installed, oldest first.
func (c *Choice) Versions(place int) []Version {
	s, chosen := c.allowed[place]
	if !chosen {
		return nil
	}
	return c.catalog.Packages[place].Versions[s.first : s.last+1]
}

// Installed are the places of all packages that an installation brings.
func (c *Choice) Installed() (places []int) {
	for i := range c.allowed {
		places = append(places, i)
	}
	slices.Sort(places)
	return places
}

// Pinned is a package at one version.
type Pinned struct{ Name, Version string }

// Closure is everything that an installation of some packages brings, each at the newest version that the
// others allow, sorted as the catalog is.
func (c *Catalog) Closure(pinned []Pinned) (all []Pinned, err error) {
	choice := c.Choose()
	at := map[int]string{}
	for _, one := range pinned {
		place, found := choice.places[one.Name]
		if !found || !choice.Add(place, false) {
			return nil, fmt.Errorf("%s %s cannot be installed with the others", one.Name, one.Version)
		}
		at[place] = one.Version
	}
	for _, place := range choice.Installed() {
		versions := choice.Versions(place)
		one := Pinned{c.Packages[place].Name, versions[len(versions)-1].Number}
		if at[place] != "" {
			one.Version = at[place]
		}
		all = append(all, one)
	}
	return all, nil
}

// allowed are the versions of a package that a requirement allows.
func (p Package) allowed(r Requirement) span {
	last := len(p.Versions) - 1
	at := slices.IndexFunc(p.Versions, func(v Version) bool { return v.Number == r.Version })
	switch r.Allows {
	case Any:
		return span{0, last}
	case Exact:
		return span{at, at}
	case Compatible:
		for last > at && major(p.Versions[last].Number) != major(r.Version) {
			last--
		}
	}
	return span{at, last}
}
