//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"eventworker/internal/realtest/servers"
)

//go:embed standin
var standins embed.FS

// The official images that the stand-ins are named after. That the compose file and the Dockerfile name
// no others shows when it is brought up: nothing can be pulled.
const (
	kafkaImage      = "apache/kafka:4.1.0"
	redisImage      = "redis:7.4"
	goImage         = "golang:1.26"
	distrolessImage = "gcr.io/distroless/static-debian12:nonroot"
	prometheusImage = "prom/prometheus:v3.5.0"
	grafanaImage    = "grafana/grafana:12.1.0"

	rootImage = "standin/root:1"
)

// rootRecipe makes the root file system that the stand-ins share: Debian with Java and Redis. Without the
// folder man1 Java's package cannot be set up.
var rootRecipe = []string{
	"--quiet", "--variant=minbase",
	"--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
	`--essential-hook=mkdir -p "$1/usr/share/man/man1"`,
	`--aptopt=APT::Install-Recommends "false"`,
	"--include=ca-certificates,openjdk-17-jre-headless,redis-server",
	"bookworm",
}

// download makes sure that the cache has what the stand-ins are made of.
func (t *test) download(ctx context.Context) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	cache = filepath.Join(cache, "eventworker")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(strings.Join(rootRecipe, "\n")))
	t.cache = cached{
		root:     filepath.Join(cache, "compose-root-"+hex.EncodeToString(sum[:4])+".tar"),
		packages: filepath.Join(cache, "compose-packages-bookworm"),
		goBuild:  filepath.Join(cache, "compose-go-build"),
		modules:  filepath.Join(cache, "compose-go-modules"),
	}
	if t.cache.jars, err = servers.KafkaJars(ctx); err != nil {
		return err
	}
	err = once(t.cache.root, func(to string) error {
		say("making a root file system with mmdebstrap")
		return t.quietly(ctx, nil, "mmdebstrap", append(slices.Clone(rootRecipe), to)...)
	})
	if err != nil {
		return err
	}
	return once(t.cache.packages, func(to string) error { return t.unpackDebian(ctx, to, "prometheus", "busybox-static") })
}

// cached are the files and folders that stay in the user's cache.
type cached struct{ root, packages, goBuild, modules, jars string }

// once makes a file or a folder under another name and renames it, so that none is left half done.
func once(path string, fill func(to string) error) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	unfinished := fmt.Sprintf("%s.%d.tmp%s", path, os.Getpid(), filepath.Ext(path)) // mmdebstrap goes by the extension
	defer os.RemoveAll(unfinished)
	if err := fill(unfinished); err != nil {
		return err
	}
	if err := os.Rename(unfinished, path); err != nil && !errors.Is(err, fs.ErrExist) {
		if _, gone := os.Stat(path); gone != nil {
			return err
		}
	}
	return nil
}

// unpackDebian unpacks packages without installing them.
func (t *test) unpackDebian(ctx context.Context, to string, packages ...string) error {
	say("downloading %s", strings.Join(packages, ", "))
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	const script = `cd "$1" && shift && { apt-get -q download "$@" || { apt-get -q update && apt-get -q download "$@"; }; } &&
		for package in *.deb; do dpkg-deb -x "$package" . && rm "$package"; done`
	return t.quietly(ctx, nil, "sh", append([]string{"-c", script, "sh", to}, packages...)...)
}

func (t *test) buildStandIns(ctx context.Context) error {
	root, err := os.Open(t.cache.root)
	if err != nil {
		return err
	}
	defer root.Close()
	began := time.Now()
	if err := t.quietly(ctx, root, "docker", "import", "-", rootImage); err != nil {
		return err
	}
	say("%5.1f s  %s", time.Since(began).Seconds(), rootImage)
	// Two at a time: one mostly compiles or reads, the daemon mostly writes.
	parallel, ctx := errgroup.WithContext(ctx)
	parallel.SetLimit(2)
	for _, s := range []struct {
		name  string
		build func(context.Context) error
	}{
		{goImage + ", " + grafanaImage, t.compiled}, {kafkaImage, t.kafka}, {redisImage, t.redis}, {distrolessImage, t.distroless},
		{prometheusImage, t.prometheus},
	} {
		parallel.Go(func() error {
			began := time.Now()
			if err := s.build(ctx); err != nil {
				return fmt.Errorf("image %s: %w", s.name, err)
			}
			say("%5.1f s  %s", time.Since(began).Seconds(), s.name)
			return nil
		})
	}
	return parallel.Wait()
}

// compiled makes the images that Go's cache takes part in, one after the other: the cache must not change
// while it is read.
func (t *test) compiled(ctx context.Context) error {
	if err := t.grafana(ctx); err != nil {
		return err
	}
	return t.golang(ctx)
}

func (t *test) kafka(ctx context.Context) error {
	a := newArchive()
	for _, f := range []string{"Dockerfile", "run", "tool", "server.properties", "log4j2.yaml"} {
		a.standin("kafka/"+f, f)
	}
	a.folder(t.cache.jars, "libs", nil)
	return t.buildImage(ctx, kafkaImage, a)
}

func (t *test) redis(ctx context.Context) error {
	a := newArchive()
	a.standin("redis/Dockerfile", "Dockerfile")
	a.standin("redis/entrypoint", "entrypoint")
	return t.buildImage(ctx, redisImage, a)
}

// distroless is an image from nothing: a user without rights, certificates, /tmp.
func (t *test) distroless(ctx context.Context) error {
	a := newArchive()
	a.bytes("etc/passwd", []byte("root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"), 0o644)
	a.bytes("etc/group", []byte("root:x:0:\nnonroot:x:65532:\n"), 0o644)
	a.dir("tmp", 0o1777)
	a.dirOf("home/nonroot", 0o700, 65532)
	return t.importImage(ctx, distrolessImage, a, "USER 65532", "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "WORKDIR /home/nonroot")
}

func (t *test) prometheus(ctx context.Context) error {
	a := newArchive()
	a.standin("prometheus/Dockerfile", "Dockerfile")
	for _, f := range []string{"usr/bin/prometheus", "usr/bin/promtool", "bin/busybox"} {
		a.file(filepath.Join(t.cache.packages, f), filepath.Base(f))
	}
	return t.buildImage(ctx, prometheusImage, a)
}

// grafana builds the program in standin/grafana, which checks what is provisioned.
func (t *test) grafana(ctx context.Context) error {
	program := t.path("grafana")
	if err := t.goBuild(ctx, program, "./scripts/compose-test/standin/grafana"); err != nil {
		return err
	}
	a := newArchive()
	a.standin("grafana/Dockerfile", "Dockerfile")
	a.file(program, "grafana")
	return t.buildImage(ctx, grafanaImage, a)
}

// buildImage builds an image from an archive with a Dockerfile.
func (t *test) buildImage(ctx context.Context, name string, a *archive) error {
	return a.stream(func(r io.Reader) error { return t.quietly(ctx, r, "docker", "build", "-q", "-t", name, "-") })
}

// importImage makes an image of one layer.
func (t *test) importImage(ctx context.Context, name string, a *archive, changes ...string) error {
	args := []string{"import"}
	for _, c := range changes {
		args = append(args, "--change", c)
	}
	return a.stream(func(r io.Reader) error { return t.quietly(ctx, r, "docker", append(args, "-", name)...) })
}

func (t *test) goBuild(ctx context.Context, to, pkg string, flags ...string) error {
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-o", to}, flags...)
	cmd := t.command(ctx, "go", append(args, pkg)...)
	cmd.Env = append(cmd.Env, "CGO_ENABLED=0", "GOCACHE="+t.cache.goBuild)
	if out, err := cmd.CombinedOutput(); err != nil {
		return failed(ctx, "go", args, err, bytes.TrimSpace(out))
	}
	return nil
}
