//go:build unix

package servers

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// scripted launches a shell script in the place of a server, which is ready once it has made the file "ready".
// It says how many times the script began.
func scripted(t *testing.T, patience time.Duration, script string) (p *process, starts int, err error) {
	t.Helper()
	dir := t.TempDir()
	command := func() *exec.Cmd {
		starts++
		cmd := exec.Command("sh", "-c", script)
		cmd.Dir = dir
		return cmd
	}
	p, err = launch(t.Context(), patience, command, filepath.Join(dir, "log"), func(context.Context) error {
		_, err := os.Stat(filepath.Join(dir, "ready"))
		return err
	})
	if p != nil {
		t.Cleanup(p.kill)
	}
	return p, starts, err
}

func TestAServerWhoseAddressIsInUseForAMomentIsStartedAgain(t *testing.T) {
	p, starts, err := scripted(t, time.Hour, `
		if [ ! -e once ]; then touch once; echo "Failed listening on port 1, bind: Address already in use"; exit 1; fi
		if [ ! -e twice ]; then touch twice; echo "java.net.BindException: address already in use"; exit 1; fi
		echo up; touch ready; exec sleep 600`)
	if err != nil || starts != 3 {
		t.Fatalf("%d starts, %v", starts, err)
	}
	if !p.runs() || string(p.tail()) != "up" {
		t.Errorf("the log of the last life: %q", p.tail())
	}
}

func TestAServerThatFailsOtherwiseIsNotStartedAgain(t *testing.T) {
	p, starts, err := scripted(t, time.Hour, `echo "FATAL CONFIG FILE ERROR"; exit 1`)
	if starts != 1 || !errors.Is(err, errEnded) || !strings.Contains(err.Error(), "FATAL CONFIG") || p.runs() {
		t.Errorf("%d starts, %v", starts, err)
	}
}

func TestAnAddressThatStaysInUseIsGivenUp(t *testing.T) {
	_, starts, err := scripted(t, 0, `echo "Address already in use"; exit 1`)
	if starts != 1 || !errors.Is(err, errEnded) {
		t.Errorf("%d starts, %v", starts, err)
	}
}

// Another server at the same address answers, too: it is not taken for the one that ended.
func TestAServerThatEndedIsNotReady(t *testing.T) {
	p, err := start(exec.Command("sh", "-c", "exit 3"), filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	<-p.done
	if err := p.ready(t.Context(), func(context.Context) error { return nil }); !errors.Is(err, errEnded) {
		t.Error(err)
	}
}
