package querystore

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

const holdFolder = "QUERYSTORE_TEST_HOLD_FOLDER"

// TestHelperHoldsFolder is no test: it is the other process of the one below.
func TestHelperHoldsFolder(t *testing.T) {
	dir := os.Getenv(holdFolder)
	if dir == "" {
		return
	}
	store, err := OpenDisk(Options{Path: dir})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("held")
	_, _ = io.Copy(io.Discard, os.Stdin)
	_ = store.Close()
}

func TestSecondProcessIsRefusedByNameUntilTheFirstEnds(t *testing.T) {
	dir := t.TempDir()
	child := exec.Command(os.Args[0], "-test.run=^TestHelperHoldsFolder$")
	child.Env = append(os.Environ(), holdFolder+"="+dir)
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "held\n" {
		t.Fatalf("the child says %q, %v", line, err)
	}
	_, err = OpenDisk(Options{Path: dir})
	var locked *LockedError
	if !errors.As(err, &locked) || locked.PID != child.Process.Pid || locked.Path != dir {
		t.Fatalf("a second process gets %v; the first is %d", err, child.Process.Pid)
	}
	if want := fmt.Sprintf("process %d", child.Process.Pid); !strings.Contains(err.Error(), want) {
		t.Fatalf("%q does not name %s", err, want)
	}
	_ = child.Process.Kill()
	_ = child.Wait()
	store, err := OpenDisk(Options{Path: dir})
	if err != nil {
		t.Fatalf("after the first was killed: %v", err)
	}
	if _, err := OpenDisk(Options{Path: dir}); !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Fatalf("a second store in this process gets %v", err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}
