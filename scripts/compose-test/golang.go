//go:build linux

package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxGoBuild bounds the cache of compiled packages, bytes; beyond it, it is made anew.
const maxGoBuild = 1 << 30

// linkerFlags are those of the Dockerfile, with what docker-compose.yml gives for its arguments.
const linkerFlags = "-ldflags=-s -w -buildid= -X main.version=local -X main.commit= -X main.date="

// golang makes the image that the Dockerfile builds in: Go as it is installed here, the modules, which
// the build cannot fetch, and what is compiled already, so that a build takes seconds. The build in the
// image is what makes the program all the same: it recompiles whatever is not exactly alike.
func (t *test) golang(ctx context.Context) error {
	if size(t.cache.goBuild) > maxGoBuild {
		if err := os.RemoveAll(t.cache.goBuild); err != nil {
			return err
		}
	}
	if err := t.goBuild(ctx, t.path("eventworker"), "./cmd/eventworker", linkerFlags); err != nil {
		return err
	}
	goroot, err := t.output(ctx, "go", "env", "GOROOT")
	if err != nil {
		return err
	}
	if err := t.downloadModules(ctx); err != nil {
		return err
	}
	a := newArchive()
	a.folder(strings.TrimSpace(goroot), "usr/local/go", needlessOfGo)
	a.folder(t.cache.modules, "go/pkg/mod", nil)
	a.folder(t.cache.goBuild, "root/.cache/go-build", nil)
	a.file(filepath.Join(t.cache.packages, "bin", "busybox"), "bin/busybox")
	for _, name := range []string{"sh", "mkdir", "cat", "ls"} {
		a.link("bin/"+name, "busybox")
	}
	a.dir("tmp", 0o1777)
	return t.importImage(ctx, goImage, a,
		"ENV PATH=/usr/local/go/bin:/bin", "ENV HOME=/root", "ENV GOPATH=/go", "ENV GOPROXY=off", "ENV GOTOOLCHAIN=local", "WORKDIR /go")
}

// needlessOfGo says what a build does without: tests, the source of the compiler.
func needlessOfGo(path string) bool {
	switch top, _, _ := strings.Cut(path, "/"); top {
	case "test", "api", "doc", "misc":
		return true
	}
	return path == "src/cmd" || strings.HasSuffix(path, "/testdata") || strings.HasSuffix(path, "_test.go")
}

// downloadModules fills a module cache of its own, from the user's where it can.
func (t *test) downloadModules(ctx context.Context) error {
	old, err := t.output(ctx, "go", "env", "GOMODCACHE", "GOPROXY")
	if err != nil {
		return err
	}
	mods, proxy, _ := strings.Cut(strings.TrimSpace(old), "\n")
	cmd := t.command(ctx, "go", "mod", "download")
	cmd.Env = append(cmd.Env, "GOMODCACHE="+t.cache.modules, "GOFLAGS=-modcacherw",
		"GOPROXY=file://"+filepath.Join(mods, "cache", "download")+","+proxy)
	if out, err := cmd.CombinedOutput(); err != nil {
		return failed(ctx, "go", []string{"mod", "download"}, err, out)
	}
	return nil
}

// size is that of all files below a folder; what cannot be read counts nothing.
func size(dir string) (total int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return errors.Join(fs.SkipDir)
		}
		if info, err := d.Info(); err == nil && d.Type().IsRegular() {
			total += info.Size()
		}
		return nil
	})
	return total
}
