package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// shells are those that the program writes completions for, with the names under which they expect them.
var shells = []struct{ shell, file string }{
	{"bash", "completions/eventworker.bash"},
	{"zsh", "completions/_eventworker"},
	{"fish", "completions/eventworker.fish"},
	{"powershell", "completions/eventworker.ps1"},
}

// papers are the files of the repository that go along, where they exist.
var papers = []string{"README.md", "CHANGELOG.md", "LICENSE*", "NOTICE*"}

func (r *release) build(ctx context.Context) error {
	if err := os.RemoveAll(r.out); err != nil {
		return err
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "eventworker-release-")
	if err != nil {
		return err
	}
	defer removeAll(work)
	fmt.Printf("eventworker %s, commit %s of %s\n", r.version, r.commit, r.at.Format(time.RFC3339))
	along, err := r.along(ctx, work)
	if err != nil {
		return err
	}
	for _, t := range r.targets {
		began := time.Now()
		program := filepath.Join(work, t.os+"-"+t.arch, t.program())
		if err := r.compile(ctx, ".", t, program, nil); err != nil {
			return err
		}
		if err := r.pack(t, program, along); err != nil {
			return err
		}
		if err := r.bill(ctx, t, program); err != nil {
			return err
		}
		info, err := os.Stat(r.archive(t))
		if err != nil {
			return err
		}
		fmt.Printf("%-52s %5.1f MB %6.1f s\n", r.archive(t), float64(info.Size())/1e6, time.Since(began).Seconds())
	}
	if err := writeSums(r.out); err != nil {
		return err
	}
	fmt.Println(filepath.Join(r.out, sumsFile))
	return nil
}

// compile builds the program of the repository at dir for a target. What git says of the folder is
// left out of it (-buildvcs=false), as that changes with any file that lies about; the version says
// whether tracked files differ from the commit.
func (r *release) compile(ctx context.Context, dir string, t target, program string, env []string) error {
	program, err := filepath.Abs(program)
	if err != nil {
		return err
	}
	flags := "-s -w -buildid= -X main.version=" + r.version + " -X main.commit=" + r.commit + " -X main.date=" + r.at.Format(time.RFC3339)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", program, "./cmd/eventworker")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+t.os, "GOARCH="+t.arch, "GOFLAGS=", "GOAMD64=v1", "GOARM64=v8.0")
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building for %s: %w", t, err)
	}
	return nil
}

// along are the files that go into every archive beside the program.
func (r *release) along(ctx context.Context, work string) ([]entry, error) {
	var entries []entry
	for _, pattern := range papers {
		files, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			entries = append(entries, entry{name: file, mode: 0o644, content: content})
		}
	}
	own := filepath.Join(work, "host", host().program())
	if err := r.compile(ctx, ".", host(), own, nil); err != nil {
		return nil, err
	}
	for _, s := range shells {
		cmd := exec.CommandContext(ctx, own, "completion", s.shell)
		cmd.Stderr = os.Stderr
		script, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("eventworker completion %s: %w", s.shell, err)
		}
		if len(bytes.TrimSpace(script)) == 0 {
			return nil, fmt.Errorf("eventworker completion %s wrote nothing", s.shell)
		}
		entries = append(entries, entry{name: s.file, mode: 0o644, content: script})
	}
	return entries, nil
}

func (r *release) pack(t target, program string, along []entry) error {
	content, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	entries := append([]entry{{name: t.program(), mode: 0o755, content: content}}, along...)
	var packed bytes.Buffer
	if strings.HasSuffix(r.archive(t), ".zip") {
		err = writeZip(&packed, r.name(t), r.at, entries)
	} else {
		err = writeTar(&packed, r.name(t), r.at, entries)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", r.archive(t), err)
	}
	return os.WriteFile(r.archive(t), packed.Bytes(), 0o644)
}

// bill writes the bill of materials: every module in the program, with version, hash and licence.
func (r *release) bill(ctx context.Context, t target, program string) error {
	cmd := exec.CommandContext(ctx, "go", "tool", "-modfile=tools/cyclonedx-gomod/go.mod", "cyclonedx-gomod",
		"bin", "-json", "-licenses", "-noserial", "-version", r.version, "-output", r.sbom(t), program)
	// The platform of the program is in the program; these would be taken for the tool's.
	cmd.Env = append(os.Environ(), "GOFLAGS=")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("bill of materials for %s: %w\n%s", t, err, said.Bytes())
	}
	return steadyBill(r.sbom(t), r.at)
}
