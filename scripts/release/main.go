// Command release builds what a release consists of: archives of the program for six platforms, a
// software bill of materials beside each, and the checksums of all of them.
//
//	go run ./scripts/release            # builds everything into dist/
//	go run ./scripts/release -check     # holds dist/ against its checksums and against a second build
//
// The same commit and the same Go give the same bytes, on any machine and in any folder: there is no
// cgo, no path and no time but the commit's in what is built.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// allTargets are the platforms of a release.
const allTargets = "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64,windows/amd64,windows/arm64"

// target is a platform that the program is built for.
type target struct{ os, arch string }

func (t target) String() string { return t.os + "/" + t.arch }

func (t target) program() string {
	if t.os == "windows" {
		return "eventworker.exe"
	}
	return "eventworker"
}

// release is what is built: a version of the program from a commit.
type release struct {
	version string
	commit  string
	at      time.Time // of the commit, in UTC
	out     string    // folder of what is built
	targets []target
}

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var version, out, targets string
	var check bool
	flag.StringVar(&version, "version", "", "stamp this `VERSION` (default: git describe)")
	flag.StringVar(&out, "out", "dist", "build into this `FOLDER`; it is emptied first")
	flag.StringVar(&targets, "targets", allTargets, "build for these `OS/ARCH,…`")
	flag.BoolVar(&check, "check", false, "check what was built instead")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	r, err := newRelease(ctx, version, out, targets)
	if err != nil {
		return err
	}
	if check {
		return r.check(ctx)
	}
	return r.build(ctx)
}

// newRelease asks git what is being built.
func newRelease(ctx context.Context, version, out, targets string) (*release, error) {
	if _, err := os.Stat("go.mod"); err != nil {
		return nil, errors.New("run it in the repository's root: there is no go.mod here")
	}
	r := &release{version: version, out: out}
	var err error
	if r.commit, err = output(ctx, "git", "rev-parse", "HEAD"); err != nil {
		return nil, err
	}
	seconds, err := output(ctx, "git", "log", "-1", "--format=%ct")
	if err != nil {
		return nil, err
	}
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("git's commit time: %w", err)
	}
	r.at = time.Unix(unix, 0).UTC()
	if r.version == "" {
		if r.version, err = output(ctx, "git", "describe", "--tags", "--always", "--dirty"); err != nil {
			return nil, err
		}
	}
	if strings.ContainsAny(r.version, "/\\ ") {
		return nil, fmt.Errorf("the version %q cannot be part of a file's name", r.version)
	}
	for name := range strings.SplitSeq(targets, ",") {
		goos, arch, ok := strings.Cut(name, "/")
		if !ok || goos == "" || arch == "" {
			return nil, fmt.Errorf("-targets wants OS/ARCH, such as linux/amd64, got %q", name)
		}
		r.targets = append(r.targets, target{goos, arch})
	}
	return r, nil
}

// name is that of an archive's folder, and of all files of a target up to their endings.
func (r *release) name(t target) string {
	return "eventworker_" + strings.TrimPrefix(r.version, "v") + "_" + t.os + "_" + t.arch
}

func (r *release) archive(t target) string {
	ending := ".tar.gz"
	if t.os == "windows" {
		ending = ".zip"
	}
	return filepath.Join(r.out, r.name(t)+ending)
}

func (r *release) sbom(t target) string { return filepath.Join(r.out, r.name(t)+".cdx.json") }

// output runs a command and gives what it printed, without the white space around it.
func output(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}

// host is the platform that this runs on.
func host() target { return target{runtime.GOOS, runtime.GOARCH} }
