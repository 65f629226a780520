package store

import (
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// usesFile has how much each function is used, for the next worker.
const usesFile = "uses.json"

// SetUses keeps how much each function is used, by name. After a crash the file has either these uses or the
// earlier ones, whole.
func (s *Store) SetUses(uses map[string]core.Use) error {
	data, err := json.Marshal(uses)
	if err != nil {
		return core.Errorf(core.KindInternal, core.FaultWorker, "the uses of functions cannot be written: %w", err)
	}
	return s.writeFile(filepath.Join(s.dir, usesFile), data)
}

// Uses returns the uses that SetUses has kept, or nothing when they cannot be read: they are worth only some
// cold starts.
func (s *Store) Uses() map[string]core.Use {
	var uses map[string]core.Use
	data, err := os.ReadFile(filepath.Join(s.dir, usesFile))
	if err != nil || json.Unmarshal(data, &uses) != nil {
		return nil
	}
	return uses
}
