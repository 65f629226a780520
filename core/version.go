package core

import (
	"runtime"
	"runtime/debug"
)

// Build is what a program knows of its own making.
type Build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// BuildOf returns the making of the program that calls it.
func BuildOf() Build {
	b := Build{Version: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		b.Version = info.Main.Version
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				b.Revision = s.Value
			}
		}
	}
	return b
}

func (b Build) String() string {
	text := b.Version + " "
	if b.Revision != "" {
		text += b.Revision + " "
	}
	return text + b.Go + " " + b.Platform
}
