package sandbox

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMemoryLimit(t *testing.T) {
	const own = "/system.slice/pipsqueak.service/worker"
	for _, test := range []struct {
		name   string
		limits map[string]string // by the file below the mount point
		file   string
		want   int64
		where  string
	}{
		{"none", nil, "memory.max", 0, ""},
		{"max", map[string]string{"system.slice/memory.max": "max"}, "memory.max", 0, ""},
		{"of the service", map[string]string{"system.slice/pipsqueak.service/memory.max": "1073741824\n", own + "/memory.max": "max\n"}, "memory.max", 1 << 30, "/system.slice/pipsqueak.service"},
		{"of what is around it", map[string]string{"memory.max": "536870912", "system.slice/pipsqueak.service/memory.max": "1073741824"}, "memory.max", 1 << 29, ""},
		{"v1", map[string]string{"memory.limit_in_bytes": "9223372036854771712", own + "/memory.limit_in_bytes": "268435456"}, "memory.limit_in_bytes", 1 << 28, own},
		{"v1 without", map[string]string{"memory.limit_in_bytes": "9223372036854771712"}, "memory.limit_in_bytes", 0, ""},
	} {
		mount := t.TempDir()
		for file, text := range test.limits {
			path := filepath.Join(mount, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		bytes, dir := leastLimit(mount, own, test.file)
		if where := mount + test.where; bytes != test.want || bytes > 0 && dir != where {
			t.Errorf("%s: %d of %s", test.name, bytes, dir)
		}
	}
}
