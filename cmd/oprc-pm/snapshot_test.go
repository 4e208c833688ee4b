package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oprc/oprc-pm/internal/config"
	"github.com/oprc/oprc-pm/internal/testetcd"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage/backup"
)

// startServer runs a node with a storage driver and returns its URL.
func startServer(t *testing.T, storageType string, environ ...string) string {
	t.Helper()
	dir := t.TempDir()
	inBackground(t, environ, serverArgs(dir, "--storage", storageType)...)
	server := "http://" + awaitReadyFile(t, filepath.Join(dir, "ready.json")).HTTPAddr
	waitFor(t, "a ready node", func() error {
		response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(server + "/readyz")
		if err != nil {
			return err
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d", response.StatusCode)
		}
		return nil
	})
	return server
}

// filled gives a server something of everything that people make.
func filled(t *testing.T, server string) {
	t.Helper()
	for _, file := range []string{"echo.yml", "shop.yml", "dependencies.yml"} {
		cli(t, server, "", "apply", "-f", "../../deploy/examples/"+file).want(t, exitOK)
	}
	cli(t, server, "", "create", "cluster", "far", "--url", "http://127.0.0.1:1", "--label", "zone=z", "--weight", "7").want(t, exitOK)
	cli(t, server, "", "cordon", "far").want(t, exitOK)
	cli(t, server, "runtime_states:\n- key: s1\n  class_key: Cart\n  deployment_id: shop\n  status: \"on\"\n  metrics: {cpu_usage: 0.1}\n",
		"apply", "-f", "-").want(t, exitOK)
}

// exportOf is the stream that export writes, without the line that tells from where.
func exportOf(t *testing.T, server string) string {
	t.Helper()
	_, text, _ := strings.Cut(cli(t, server, "", "export").want(t, exitOK).out, "\n")
	return text
}

// userLines are those of a server, as they are stored.
func userLines(t *testing.T, server string) map[string]string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "all.backup")
	cli(t, server, "", "cluster", "snapshot", "save", file).want(t, exitOK)
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	e, _, err := readExported(in)
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]string{}
	for kind, list := range map[string][]userLine{"cluster": e.clusters, "package": e.packages, "deployment": e.deployments, "state": e.states} {
		for _, line := range list {
			lines[kind+"/"+line.name] = string(line.json)
		}
	}
	return lines
}

// TestMigration takes everything from memory to raft to etcd, once by export and once
// by snapshot.
func TestMigration(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1)
	memory, raft := startServer(t, "memory"), startServer(t, "raft")
	etcd := startServer(t, "etcd", "ETCD_ENDPOINTS="+strings.Join(servers.Endpoints(), ","), "ETCD_KEY_PREFIX=/a")
	filled(t, memory)
	want, lines := exportOf(t, memory), userLines(t, memory)
	if len(lines) < 8 {
		t.Fatalf("only %d documents: %v", len(lines), lines)
	}
	from := memory
	for _, to := range []string{raft, etcd} {
		cli(t, to, cli(t, from, "", "export").want(t, exitOK).out, "import", "-f", "-").want(t, exitOK)
		from = to
		equal(t, exportOf(t, to), want)
		for name, line := range userLines(t, to) {
			equal(t, name+" "+line, name+" "+lines[name])
		}
		r := cli(t, to, want, "import", "-f", "-").want(t, exitOK)
		if strings.Count(r.out, "unchanged\n") != strings.Count(r.out, "\n") {
			t.Errorf("the same import again:\n%s", r.out)
		}
	}

	// All of it: raft's state into another etcd, and that back into raft.
	other := startServer(t, "etcd", "ETCD_ENDPOINTS="+strings.Join(servers.Endpoints(), ","), "ETCD_KEY_PREFIX=/b")
	file := filepath.Join(t.TempDir(), "raft.backup")
	cli(t, raft, "", "cluster", "snapshot", "save", file).want(t, exitOK)
	r := cli(t, other, "", "cluster", "snapshot", "restore", file).want(t, exitOK)
	contains(t, r.out, "restored "+file+": ")
	equal(t, exportOf(t, other), want)
	cli(t, other, "", "cluster", "snapshot", "save", file).want(t, exitOK)
	cli(t, raft, "", "delete", "deployment", "--all", "--yes")
	cli(t, raft, "yes\n", "cluster", "snapshot", "restore", file, "--force").want(t, exitOK)
	equal(t, exportOf(t, raft), want)
}

func TestImportPrunes(t *testing.T) {
	t.Parallel()
	server := startServer(t, "memory")
	filled(t, server)
	before := exportOf(t, server)
	cli(t, server, "name: extra\nversion: 1\n---\nname: extra2\nversion: 1\ndependencies: [extra]\n", "apply", "-f", "-").want(t, exitOK)
	cli(t, server, "", "create", "cluster", "more", "--url", "http://127.0.0.1:1").want(t, exitOK)
	r := cli(t, server, before, "import", "-f", "-", "--prune").want(t, exitOK)
	contains(t, r.out, "package/extra deleted", "package/extra2 deleted", "cluster/more deleted")
	equal(t, exportOf(t, server), before)
}

func TestImportRefuses(t *testing.T) {
	t.Parallel()
	server := startServer(t, "memory")
	for name, test := range map[string]struct{ in, want string }{
		"nothing":   {"# nothing\n", "there are no documents"},
		"unknown":   {"name: a\nversion: 1\nwhat: 2\n", "is not a known field"},
		"invalid":   {"name: a\nversion: 1\n---\nruntime_states:\n- key: ''\n", "runtime_states[0].key"},
		"twice":     {"name: a\nversion: 1\n---\nname: a\nversion: 2\n", "more than once"},
		"malformed": {"name: [\n", "document 1"},
	} {
		r := cli(t, server, test.in, "import", "-f", "-").want(t, exitUsage)
		contains(t, name+": "+r.err, test.want)
	}
	cli(t, server, "", "import").want(t, exitUsage)
	equal(t, exportOf(t, server), "")
}

// TestLongStream is decoded in pieces.
func TestLongStream(t *testing.T) {
	t.Parallel()
	var stream strings.Builder
	for i := range 3*chunkDocuments + 7 {
		fmt.Fprintf(&stream, "---\nname: p%d\nversion: 1\n", i)
	}
	p := &program{in: strings.NewReader(stream.String()), err: &strings.Builder{}}
	set, err := p.loadStream("-")
	if err != nil || len(set.packages) != 3*chunkDocuments+7 {
		t.Errorf("%d packages, %v, want %d", len(set.packages), err, 3*chunkDocuments+7)
	}
}

func TestSnapshotFiles(t *testing.T) {
	t.Parallel()
	server := startServer(t, "memory")
	filled(t, server)
	dir := t.TempDir()
	file := filepath.Join(dir, "a.backup")
	cli(t, server, "", "cluster", "snapshot", "save", file, "--stale").want(t, exitOK)
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("files: %v, %v, want one", left, err)
	}
	r := cli(t, "", "", "cluster", "snapshot", "inspect", file).want(t, exitOK)
	contains(t, r.out, "storage memory", "deployment", "is whole")
	var h backup.Header
	r = cli(t, "", "", "cluster", "snapshot", "inspect", file, "-o", "json").want(t, exitOK)
	if err := json.Unmarshal([]byte(r.out), &h); err != nil || h.Keys == 0 || h.Node != "n1" {
		t.Errorf("inspect: %+v, %v", h, err)
	}
	// Standard output is the same file.
	if out := cli(t, server, "", "cluster", "snapshot", "save", "-").want(t, exitOK).out; !strings.HasPrefix(out, "OPRCBKUP") {
		t.Errorf("on standard output: %.20q", out)
	}
	// An export of the file is one of the server.
	_, text, _ := strings.Cut(cli(t, "", "", "export", "--from", file).want(t, exitOK).out, "\n")
	equal(t, text, exportOf(t, server))

	// What is damaged is refused here, before it goes anywhere.
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	bad := tempFile(t, "bad.backup", string(data))
	for _, args := range [][]string{{"inspect", bad}, {"restore", bad}, {"inspect", "/does/not/exist"}} {
		cli(t, server, "", append([]string{"cluster", "snapshot"}, args...)...).want(t, exitUsage)
	}
	// What is there is not lost by mistake.
	cli(t, server, "", "cluster", "snapshot", "restore", file).want(t, exitConflict)
	r = cli(t, server, "no\n", "cluster", "snapshot", "restore", file, "--force").want(t, exitUsage)
	contains(t, r.err, "This replaces all", "nothing was restored")
	cli(t, server, "", "cluster", "snapshot", "restore", file, "--force", "--yes").want(t, exitOK)
	for _, verb := range []string{"list", "run"} {
		contains(t, cli(t, server, "", "cluster", "snapshot", verb).want(t, exitConflict).err, "backup.directory")
	}
}

// TestFirstStartBeginsWithTheNewestBackup starts a node with what another one left in
// a directory.
func TestFirstStartBeginsWithTheNewestBackup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := startNodeWith(t, func(c *config.Config) { c.Backup.Directory = dir })
	server := "http://" + s.advertised
	filled(t, server)
	want := exportOf(t, server)
	cli(t, server, "", "cluster", "snapshot", "run").want(t, exitOK)
	r := cli(t, server, "", "cluster", "snapshot", "list", "-o", "json").want(t, exitOK)
	var list []model.StoredBackup
	if err := json.Unmarshal([]byte(r.out), &list); err != nil || len(list) != 1 || list[0].Destination != dir {
		t.Errorf("list: %s, %v", r.out, err)
	}
	again := startServer(t, "raft", "OPRC_BACKUP_DIRECTORY="+dir, "OPRC_BACKUP_RESTORE_IF_EMPTY=true")
	equal(t, exportOf(t, again), want)
	// That is told once it is done.
	waitFor(t, "the event", func() error {
		if out := cli(t, again, "", "get", "events").want(t, exitOK).out; !strings.Contains(out, "InitialRestore") {
			return fmt.Errorf("not in:\n%s", out)
		}
		return nil
	})
}
