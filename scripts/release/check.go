package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// check holds what was built against its checksums, looks into every archive, runs the program of
// this platform, and builds that a second time, in another folder and with an empty cache: the bytes
// have to be the same.
func (r *release) check(ctx context.Context) error {
	files, err := checkSums(r.out)
	if err != nil {
		return err
	}
	fmt.Printf("%d files have their checksums\n", len(files))
	if want := 2 * len(r.targets); len(files) != want {
		return fmt.Errorf("%s holds %d files, want %d: an archive and a bill of materials for each of %d targets of version %s", r.out, len(files), want, len(r.targets), r.version)
	}
	own, err := r.look()
	if err != nil {
		return err
	}
	if own == nil {
		fmt.Printf("no archive is for %s: nothing to run and to build again\n", host())
		return nil
	}
	work, err := os.MkdirTemp("", "eventworker-release-")
	if err != nil {
		return err
	}
	defer removeAll(work)
	if err := r.tryProgram(ctx, work, own); err != nil {
		return err
	}
	return r.again(ctx, work, own)
}

// look looks into every archive and gives the program of this platform.
func (r *release) look() ([]byte, error) {
	var own []byte
	for _, t := range r.targets {
		entries, err := readArchive(r.archive(t), r.name(t))
		if err != nil {
			return nil, err
		}
		wanted := []string{t.program(), "README.md", "CHANGELOG.md"}
		for _, s := range shells {
			wanted = append(wanted, s.file)
		}
		for _, name := range wanted {
			i := slices.IndexFunc(entries, func(e entry) bool { return e.name == name })
			if i < 0 || len(entries[i].content) == 0 {
				return nil, fmt.Errorf("%s: %s is missing or empty", r.archive(t), name)
			}
		}
		if entries[0].mode != 0o755 {
			return nil, fmt.Errorf("%s: %s has the mode %o, want 755", r.archive(t), entries[0].name, entries[0].mode)
		}
		if err := checkBill(r.sbom(t)); err != nil {
			return nil, err
		}
		if t == host() {
			own = entries[0].content
		}
	}
	fmt.Printf("%d archives are complete\n", len(r.targets))
	return own, nil
}

// tryProgram runs the program as somebody who unpacked it would.
func (r *release) tryProgram(ctx context.Context, work string, program []byte) error {
	file := filepath.Join(work, host().program())
	if err := os.WriteFile(file, program, 0o700); err != nil {
		return err
	}
	text, err := output(ctx, file, "version", "--output", "json")
	if err != nil {
		return err
	}
	var got struct{ Version, Commit, Date, Platform string }
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		return fmt.Errorf("eventworker version --output json: %w", err)
	}
	want := got
	want.Version, want.Commit, want.Date, want.Platform = r.version, r.commit, r.at.Format(time.RFC3339), host().String()
	if got != want {
		return fmt.Errorf("eventworker version says %+v, want %+v", got, want)
	}
	if text, err = output(ctx, file, "version"); err != nil {
		return err
	}
	fmt.Println(text)
	return nil
}

// again builds the program of this platform from a copy of the repository.
func (r *release) again(ctx context.Context, work string, program []byte) error {
	began := time.Now()
	dir, cache := filepath.Join(work, "copy"), filepath.Join(work, "cache")
	if err := copyTracked(ctx, dir); err != nil {
		return err
	}
	second := filepath.Join(work, "second", host().program())
	if err := r.compile(ctx, dir, host(), second, []string{"GOCACHE=" + cache}); err != nil {
		return err
	}
	content, err := os.ReadFile(second)
	if err != nil {
		return err
	}
	if !bytes.Equal(content, program) {
		return fmt.Errorf("a second build for %s gives other bytes: %d of them, the first had %d", host(), len(content), len(program))
	}
	fmt.Printf("a second build for %s gives the same %d bytes, in %.1f s\n", host(), len(content), time.Since(began).Seconds())
	return nil
}

// copyTracked copies the files that git knows, as they are now, into dir.
func copyTracked(ctx context.Context, dir string) error {
	list, err := exec.CommandContext(ctx, "git", "ls-files", "-z").Output()
	if err != nil {
		return fmt.Errorf("git ls-files: %w", err)
	}
	for file := range strings.SplitSeq(strings.TrimRight(string(list), "\x00"), "\x00") {
		content, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			continue // deleted, and the deletion is not committed yet
		}
		if err != nil {
			return err
		}
		to := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func removeAll(dir string) {
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, "could not remove", dir+":", err)
	}
}
