# The attacks: what they are is in docs/security.md, and in rig_attack_*_test.go.

.PHONY: attack attack-without

attack: build deps-test ## try every attack in every language, and show which hold
	mkdir -p build && rm -f build/attacks.txt
	CI=true $(TESTED) PIPSQUEAK_REPORT=$(CURDIR)/build/attacks.txt \
		go test -count 1 -timeout 20m -run '^TestAttack' ./integration; status=$$?; cat build/attacks.txt; exit $$status

# WALL is one, or several with " + " between them, as build/attacks.txt has them; commas separate sets; "all" are tried one after the other.
WALL := all
export WALL
attack-without: build deps-test ## take down WALL (default: all, one after the other) in a copy, and show that its attacks succeed
	mkdir -p build && rm -f build/without.txt
	CI=true $(TESTED) PIPSQUEAK_REPORT=$(CURDIR)/build/without.txt PIPSQUEAK_WITHOUT="$$WALL" \
		go test -count 1 -timeout 180m -run '^TestAttacks$$' ./integration; status=$$?; cat build/without.txt; exit $$status
