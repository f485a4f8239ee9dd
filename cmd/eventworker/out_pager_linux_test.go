package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// newTerminal is a terminal of a few lines; what is written to it comes from screen.
func newTerminal(t *testing.T, rows, columns uint16) (terminal *os.File, screen func() string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(master.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns})
	}
	if err == nil {
		terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	shown := make(chan string)
	go func() {
		text, _ := io.ReadAll(master) // ends with an error once the other side is closed
		shown <- strings.ReplaceAll(string(text), "\r\n", "\n")
	}()
	return terminal, func() string {
		terminal.Close()
		text := <-shown
		master.Close()
		return text
	}
}

func TestLongDifferencesOfAnEditAreGivenToThePager(t *testing.T) {
	d := newReplayDesk(t)
	edit := d.file("fix.json", commaPrices)
	replay := func(rows uint16, flags ...string) (paged, screen string) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "paged")
		terminal, shown := newTerminal(t, rows, 100)
		env := []string{"XDG_CONFIG_HOME=" + t.TempDir(), "EVENTWORKER_PAGER=cat > " + file, "PATH=" + os.Getenv("PATH")}
		args := append(append([]string{"dlq", "replay", "--edit", edit}, flags...), d.flags...)
		var errs bytes.Buffer
		if code := run(t.Context(), args, streams{in: strings.NewReader(""), out: terminal, err: &errs, env: env}); code != exitOK && code != exitRemainder {
			t.Fatalf("exit code %d, %s", code, errs.String())
		}
		text, _ := os.ReadFile(file) // none: nothing was paged
		return string(text), shown()
	}
	const difference, verdict = `- items[0].price: "1`, "pass after edit"
	if paged, screen := replay(5, "--dry-run"); !strings.Contains(paged, difference) || strings.Contains(paged, verdict) || strings.Contains(screen, difference) || !strings.Contains(screen, verdict) {
		t.Errorf("long: paged %q, shown %q", paged, screen)
	}
	for _, c := range []struct {
		name  string
		rows  uint16
		flags []string
	}{
		{"short", 60, []string{"--dry-run"}},
		{"--no-pager", 5, []string{"--dry-run", "--no-pager"}},
		{"--yes", 5, []string{"--yes"}},
	} {
		if paged, screen := replay(c.rows, c.flags...); paged != "" || !strings.Contains(screen, difference) || !strings.Contains(screen, verdict) {
			t.Errorf("%s: paged %q, shown %q", c.name, paged, screen)
		}
	}
}
