//go:build linux

package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// newTest is a test in the repository's root, with a folder of its own.
func newTest(t *testing.T) *test {
	t.Helper()
	t.Chdir("../..")
	dir := t.TempDir()
	return &test{dir: dir, env: environment(dir, false), compose: []string{"docker", "compose"}}
}

func TestTheComposeFileHasTheSettingsThatTheExampleDocuments(t *testing.T) {
	c := newTest(t)
	if err := c.settings(); err != nil {
		t.Fatal(err)
	}
	for _, name := range portNames {
		if p := c.ports[name]; p < 20000 || p >= 30000 {
			t.Errorf("%s is %d", name, p)
		}
	}
}

func TestTheWalkThroughsCommandsAreShell(t *testing.T) {
	newTest(t)
	page, err := os.ReadFile(walkThroughPage)
	if err != nil {
		t.Fatal(err)
	}
	blocks := commandBlock.FindAllStringSubmatch(string(page), -1)
	if opened := strings.Count(string(page), "\n```sh\n"); len(blocks) != opened || opened == 0 {
		t.Errorf("%d blocks of %d are found", len(blocks), opened)
	}
	for _, b := range blocks {
		cmd := exec.Command("bash", "-n")
		cmd.Stdin = strings.NewReader(b[1])
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s\n%s", err, out, b[1])
		}
		if b[2] != "" && strings.TrimSpace(b[2]) == "" {
			t.Errorf("nothing is shown of what this prints:\n%s", b[1])
		}
	}
}

func TestBlocksShareAShellAndOneFailedCommandIsSeen(t *testing.T) {
	c := newTest(t)
	c.ports = ports{"FAKE_PORT": 21111}
	s, err := c.newShell(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	said, err := s.run(t.Context(), "x=1\ncat\necho 127.0.0.1:9401 \"$DOCKER_BUILDKIT\"; echo 2 >&2\n")
	if err != nil || said != "127.0.0.1:9401 0\n2\n" {
		t.Errorf("%q, %v", said, err)
	}
	if said, err = s.run(t.Context(), "echo $x"); err != nil || said != "1\n" {
		t.Errorf("variables do not stay: %q, %v", said, err)
	}
	if _, err = s.run(t.Context(), "false\ntrue"); err == nil || !strings.Contains(err.Error(), "status 1") {
		t.Errorf("a command that fails: %v", err)
	}
	if _, err = s.run(t.Context(), "false | true"); err == nil {
		t.Error("a command of a pipe that fails is not seen")
	}
	if said, err = s.run(t.Context(), "echo again"); err != nil || said != "again\n" {
		t.Errorf("after a failure: %q, %v", said, err)
	}
	if _, err = s.run(t.Context(), "exit 3"); err == nil {
		t.Error("a shell that ended is not seen")
	}
}

func TestComposesOwnWordsAreLeftOut(t *testing.T) {
	const said = "Creating network \"x\" with the default driver\n Container x-worker-1  Started\nready  \nx_worker_1 is up-to-date\n\n"
	if got := tidy(said); got != "ready\n" {
		t.Errorf("%q", got)
	}
}
