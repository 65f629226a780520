package main

import (
	"slices"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

var misbehaving = []drivertest.Probed{
	{Name: "good", Source: "HELD = 'x' * (8 << 20)"},
	{Name: "above", Source: "require 'good'", Requires: []string{"good==1"}},
	{Name: "starts", Source: "2.times { Thread.new { sleep } }", Told: "^starts 2 threads( and leaves open .*)? at import$"},
	{Name: "above_starts", Source: "require 'starts'", Requires: []string{"starts==1"}, Told: "^imports starts, which starts 2 threads"},
	{Name: "child", Source: "spawn('sleep', '3600')", Told: "^leaves 1 process running at import$"},
	{Name: "listens", Source: "require 'socket'\nSERVER = TCPServer.new('127.0.0.1', 8080)", Told: "^leaves open .*tcp 127.0.0.1:8080 listening.* at import$"},
	// Takes long on its way from the answer to where it waits, and is looked at meanwhile.
	{Name: "handles", Source: "trap('WINCH') {}\nmodule Slow\n  def _fork = sleep(0.3) && super\nend\nProcess.singleton_class.prepend(Slow)"},
	{Name: "raises", Source: "raise TypeError, 'no'", Told: "TypeError: no"},
	{Name: "exits", Source: "exit!(3)", Told: "ended"},
	{Name: "crashes", Source: "Process.kill(:SEGV, Process.pid)\nsleep", Told: "ended"},
}

// TestProbe has packages that do at import what a zygote must not have done, and finds it.
func TestProbe(t *testing.T) {
	files := map[string]string{}
	for _, p := range misbehaving {
		files[p.Name+".rb"] = p.Source
	}
	found := newHouse(t, files).Probe(t, misbehaving)
	if good, above := found["good"], found["above"]; good.Private < 8<<20 || above.Private > 4<<20 || above.Memory != above.Private+good.Private {
		t.Errorf("good %+v\nabove %+v", good, above)
	}
	if p := found["handles"]; !slices.Equal(p.Signals, []string{"SIGWINCH"}) {
		t.Errorf("handles %+v", p)
	}
}

// TestProbeDraws tells a generator whose forks give the same from one that gives little each time. What a
// package has is known by its directory.
func TestProbeDraws(t *testing.T) {
	for _, p := range []drivertest.Probed{
		{Name: "flips", Source: "('A'..'Z').each { |name| Object.const_set('Flips' + name, Module.new { def self.random = rand(2) }) }"},
		{Name: "makes", Source: "module Makes\n  def self.random = Random.new\nend"},
		{Name: "flips_alike", Source: "module Alike\n  @state = Process.clock_gettime(Process::CLOCK_REALTIME, :nanosecond)\n  def self.random = (@state = @state * 48271 % 2147483647) & 1\nend",
			Told: "^gives the same random numbers in every fork$"},
	} {
		t.Run(p.Name, func(t *testing.T) {
			newHouse(t, map[string]string{p.Name + ".rb": p.Source}).Probe(t, []drivertest.Probed{p})
		})
	}
}
