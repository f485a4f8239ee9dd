//go:build unix

package servers

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

const takePorts = "SERVERS_TEST_TAKE_PORTS"

// few are ports that the servers of other tests do not use.
func few(file string) *portRange { return &portRange{first: 30100, count: 40, file: file} }

// all takes what is left.
func (r *portRange) all(t *testing.T) map[int]bool {
	t.Helper()
	got := make(map[int]bool)
	for {
		port, err := r.take()
		if err != nil {
			return got
		}
		if got[port] || port < r.first || port >= r.first+r.count {
			t.Fatalf("port %d, after %v", port, got)
		}
		got[port] = true
	}
}

// TestHelperTakesPorts is no test: it is the other process of the one below.
func TestHelperTakesPorts(t *testing.T) {
	file := os.Getenv(takePorts)
	if file == "" {
		return
	}
	r := few(file)
	for range 10 {
		port, err := r.take()
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(port)
	}
	fmt.Println("taken")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// A server that was killed and is started again finds its port as it left it: no other test, of this process
// or of one that runs beside it, has been given it or has looked whether it is free.
func TestAPortIsGivenToOneProcessAndOnlyOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ports")
	child := exec.Command(os.Args[0], "-test.run=^TestHelperTakesPorts$")
	child.Env = append(os.Environ(), takePorts+"="+file)
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
	theirs := make(map[int]bool)
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && lines.Text() != "taken" {
		port, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatalf("the other process says %q", lines.Text())
		}
		theirs[port] = true
	}
	r := few(file)
	ours := r.all(t)
	if len(theirs) != 10 || len(ours) == 0 {
		t.Fatalf("%d ports there, %d here", len(theirs), len(ours))
	}
	for port := range ours {
		if theirs[port] {
			t.Errorf("port %d was given to both", port)
		}
	}
	_ = child.Process.Kill()
	_ = child.Wait()
	for port := range r.all(t) {
		if !theirs[port] {
			t.Errorf("port %d was free before", port)
		}
		delete(theirs, port)
	}
	if len(theirs) == 10 {
		t.Error("the end of a process gives none of its ports back")
	}
}

func TestAPortThatSomebodyListensOnIsNotGiven(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := &portRange{first: l.Addr().(*net.TCPAddr).Port, count: 1, file: filepath.Join(t.TempDir(), "ports")}
	if port, err := r.take(); err == nil {
		t.Errorf("port %d is given", port)
	}
}
