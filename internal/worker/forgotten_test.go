package worker

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eventworker/internal/config"
)

// A worker whose store is not on disk may have no folder to write to: then the state topic alone keeps whom it
// forgot, and where that is missing, too, nobody is told that it is durable.
func TestWithoutAFolderTheStateTopicKeepsWhoIsForgotten(t *testing.T) {
	const states = letters + ".state"
	for _, c := range []struct {
		name, kind string
		topics     []string
		status     int
	}{
		{"state topic", "memory", []string{topic, letters, replays, states}, http.StatusOK},
		{"nothing durable", "memory", []string{topic, letters, replays}, http.StatusBadRequest},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, func(s *setting) { s.topics = c.topics })
			nowhere := filepath.Join(w.dir, "nowhere")
			if err := os.Symlink(filepath.Join(w.dir, "missing", "folder"), nowhere); err != nil {
				t.Fatal(err)
			}
			cfg := w.config(func(cfg *config.Config) { cfg.Store.Kind, cfg.Store.Path = c.kind, nowhere })
			run := w.start(cfg)
			w.send(clicks("u", "old", 1)...)
			run.settles(1)
			status, body := run.act(ForgetPath, "", `{"userToken":"u"}`)
			if status != c.status || strings.Contains(body, `"u"`) {
				t.Errorf("%d %s", status, body)
			}
			run.stop()
			if c.status != http.StatusOK {
				return
			}
			again := w.start(cfg)
			again.await("what was forgotten", func() bool { return again.forgotten.since("u") > 0 })
			again.stop()
		})
	}
}
