package etcd_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/oprc/oprc-pm/internal/testetcd"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/etcd"
	"github.com/oprc/oprc-pm/storage/storagetest"
)

// legacyPackage is a package as an earlier package manager stores it.
func legacyPackage(name, version, created string, dependencies ...string) string {
	list := "[]"
	if len(dependencies) > 0 {
		list = `["` + strings.Join(dependencies, `","`) + `"]`
	}
	if created != "" {
		created = `,"created_at":"` + created + `"`
	}
	return fmt.Sprintf(`{"name":%q,"version":%q,"metadata":{"author":null,"description":null,"tags":["old"]%s},`+
		`"classes":[{"key":"Cart","description":null,"state_spec":null,"function_bindings":[]}],"functions":[],"dependencies":%s,"deployments":[]}`,
		name, version, created, list)
}

// legacyDeployment likewise.
func legacyDeployment(key, pkg string) string {
	return fmt.Sprintf(`{"key":%q,"package_name":%q,"class_key":"Cart","target_envs":["edge-1"],`+
		`"nfr_requirements":{"min_throughput_rps":null,"availability":null,"cpu_utilization_target":null},"functions":[],`+
		`"condition":"RUNNING","odgm":{"collections":["shop.Cart"],"replica_count":1,"env_node_ids":{"edge-1":[91]},"log":"info"},`+
		`"status":{"replication_factor":1,"selected_envs":["edge-1"],"achieved_quorum_availability":0.99},`+
		`"updated_at":"2025-01-02T03:04:05.678901234Z"}`, key, pkg)
}

// write puts pairs under a node's prefix, as another program does.
func write(t *testing.T, client *clientv3.Client, prefix string, pairs map[string]string) {
	t.Helper()
	for key, value := range pairs {
		if _, err := client.Put(t.Context(), prefix+"/"+key, value); err != nil {
			t.Fatal(err)
		}
	}
}

// stored is what a node shows under a key, nil when there is nothing.
func stored(t *testing.T, s storage.Store, key []byte) []byte {
	t.Helper()
	var value []byte
	_, err := s.View(within(t, patience), storage.ReadOptions{}, func(r storage.Reader) (err error) {
		value, err = r.Get(key)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// inEtcd is what etcd holds under a key of a node.
func inEtcd(t *testing.T, client *clientv3.Client, s *etcd.Store, key string) string {
	t.Helper()
	resp, err := client.Get(t.Context(), s.Key(key))
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) == 0 {
		return ""
	}
	return string(resp.Kvs[0].Value)
}

// putCluster registers the cluster edge-1.
func putCluster(t *testing.T, s storage.Store) {
	t.Helper()
	c := model.Cluster{Name: "edge-1", BaseURL: "http://localhost:1"}
	c.SetDefaults()
	cmd, err := storage.NewPutCluster(c, storage.Upsert, 0)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, s, cmd)
}

// TestAdoptsWhatAnEarlierPackageManagerLeft opens nodes on its data: what is valid is
// taken over, what is not is left where it is, and every node is ready.
func TestAdoptsWhatAnEarlierPackageManagerLeft(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1)
	client := servers.Client()
	cfg := config(servers, "/oaas/pm")
	invalid := map[string]string{
		"packages/broken":         `{"name":`,
		"packages/renamed":        legacyPackage("other-name", "1", ""),
		"packages/without-base":   legacyPackage("without-base", "1", "", "missing"),
		"deployments/no-package":  legacyDeployment("no-package", "missing"),
		"deployments/a/b":         legacyDeployment("a/b", "shop"),
		"deployments/empty":       "",
		"deployments/x/clusters/": "unit-x",
	}
	write(t, client, cfg.Prefix, invalid)
	write(t, client, cfg.Prefix, map[string]string{
		// In the order of names the first one depends on the last.
		"packages/app":                           legacyPackage("app", "1", "2024-05-06T07:08:09Z", "shop"),
		"packages/shop":                          legacyPackage("shop", "2", "2024-01-02T03:04:05Z", "zlib"),
		"packages/zlib":                          legacyPackage("zlib", "3", ""),
		"deployments/shop.Cart":                  legacyDeployment("shop.Cart", "shop"),
		"deployments/shop.Cart/clusters/edge-1":  "0123456789abcdef",
		"deployments/shop.Cart/clusters/unknown": "fedcba9876543210",
	})
	nodes := openThree(t, cfg)
	for _, node := range nodes {
		eventually(t, "the node is ready", func() bool { return node.Status().Ready })
	}
	node := nodes[1]
	for name, created := range map[string]string{"app": "2024-05-06T07:08:09Z", "shop": "2024-01-02T03:04:05Z", "zlib": ""} {
		document := stored(t, node, storage.PackageKey(name))
		stamp, err := storage.ReadStamp(document)
		if err != nil {
			t.Fatalf("package %s: %v", name, err)
		}
		if created != "" && stamp.CreatedAt.Format(time.RFC3339) != created {
			t.Errorf("package %s was made at %v, want %s", name, stamp.CreatedAt, created)
		}
		if got := inEtcd(t, client, node, "packages/"+name); got != string(document) {
			t.Errorf("etcd holds %q of package %s, the copy %q", got, name, document)
		}
		if p, _, err := model.DecodePackage(document, model.JSON); err != nil || len(p.Metadata.Tags) != 1 {
			t.Errorf("package %s: %+v, %v", name, p, err)
		}
	}
	stamp, err := storage.ReadStamp(stored(t, node, storage.DeploymentKey("shop.Cart")))
	if want := "2025-01-02T03:04:05Z"; err != nil || stamp.CreatedAt.Format(time.RFC3339) != want {
		t.Errorf("the deployment was made at %v, %v, want %s", stamp.CreatedAt, err, want)
	}
	for key, value := range invalid {
		if got := inEtcd(t, client, node, key); got != value {
			t.Errorf("%s is %q, want that it was left alone", key, got)
		}
		if got := stored(t, node, []byte(key)); got != nil {
			t.Errorf("%s is shown: %q", key, got)
		}
	}
	// The unit waits for its cluster.
	unit := storage.UnitKey("shop.Cart", "edge-1", "0123456789abcdef")
	if got := stored(t, node, unit); got != nil {
		t.Errorf("the unit of an unknown cluster is recorded: %s", got)
	}
	putCluster(t, node)
	eventually(t, "the unit is recorded", func() bool { return stored(t, node, unit) != nil })
	if got := inEtcd(t, client, node, "deployments/shop.Cart/clusters/edge-1"); got != "" {
		t.Errorf("the mapping is still there: %q", got)
	}
	if got := inEtcd(t, client, node, "deployments/shop.Cart/clusters/unknown"); got == "" {
		t.Error("the mapping of an unknown cluster was removed")
	}
	sameState(t, nodes...)
	sameState(t, open(t, cfg, "fresh"), node)
	wantQuiet(t, client, node)
}

// wantQuiet checks that a node at rest writes nothing.
func wantQuiet(t *testing.T, client *clientv3.Client, s *etcd.Store) {
	t.Helper()
	before := s.Revision()
	<-time.After(300 * time.Millisecond)
	if after := s.Revision(); after != before {
		t.Errorf("at rest, the head went from revision %d to %d", before, after)
	}
}

// TestLegacyWriterBesideUs takes over what an earlier package manager writes meanwhile,
// and never writes over it unseen.
func TestLegacyWriterBesideUs(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1)
	client := servers.Client()
	cfg := config(servers, "/beside")
	nodes := openThree(t, cfg)
	put(t, nodes[0], "p", "ours")
	before, err := storage.ReadStamp(stored(t, nodes[0], storage.PackageKey("p")))
	if err != nil {
		t.Fatal(err)
	}
	write(t, client, cfg.Prefix, map[string]string{"packages/p": legacyPackage("p", "theirs", ""), "packages/q": legacyPackage("q", "new", "")})
	// Whichever node is asked, their write counts: the version that a client has
	// seen is not the newest one any more.
	stale := storagetest.PutRegister("p", "late")
	stale.IfMatch = before.ResourceVersion
	_, err = nodes[1].Apply(within(t, patience), storage.Request{Command: stale})
	wantCode(t, err, model.CodeFailedPrecondition)
	wantValue(t, nodes[2], "p", "theirs")
	eventually(t, "the new package is taken over", func() bool { return stored(t, nodes[2], storage.PackageKey("q")) != nil })
	after, err := storage.ReadStamp(stored(t, nodes[2], storage.PackageKey("p")))
	if err != nil || after.Generation != before.Generation+1 || !after.CreatedAt.Equal(before.CreatedAt) || after.UpdatedAt.Before(before.UpdatedAt) {
		t.Errorf("stamp %+v, %v, want the next generation after %+v", after, err, before)
	}
	// What they write again without a change is put into our form.
	write(t, client, cfg.Prefix, map[string]string{"packages/q": legacyPackage("q", "new", "")})
	eventually(t, "the document has our form", func() bool {
		return strings.HasPrefix(inEtcd(t, client, nodes[0], "packages/q"), `{"resource_version"`)
	})
	for _, node := range nodes {
		eventually(t, "the node is ready", func() bool { return node.Status().Ready })
	}
	put(t, nodes[1], "p", "ours again")
	sameState(t, nodes...)
	sameState(t, open(t, cfg, "fresh"), nodes[0])
}

// TestForeignChangesArePutBack undoes what somebody did to our keys.
func TestForeignChangesArePutBack(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1)
	client := servers.Client()
	cfg := config(servers, "/foreign")
	nodes := openThree(t, cfg)
	someLeads(t, nodes...)
	deployMany(t, nodes[0], 3)
	want := content(t, client, nodes[0])
	index := string(storage.ByPackage.Key("app", "d0001"))
	write(t, client, cfg.Prefix, map[string]string{index: "x", "index/tag/x": "y", "deployments/d0002": want[nodes[0].Key("deployments/d0001")]})
	for _, key := range []string{"packages/app", "system/cluster_id"} {
		if _, err := client.Delete(t.Context(), nodes[0].Key(key)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all is as it was", func() bool {
		now := content(t, client, nodes[0])
		for _, pairs := range []map[string]string{now, want} {
			delete(pairs, nodes[0].Key("system/head"))
		}
		if len(now) != len(want) {
			return false
		}
		for key, value := range want {
			if now[key] != value {
				return false
			}
		}
		return true
	})
	// Ours go on meanwhile, also over what they changed.
	if _, err := client.Delete(t.Context(), nodes[0].Key("packages/app")); err != nil {
		t.Fatal(err)
	}
	for i, node := range nodes {
		put(t, node, "app2", fmt.Sprint(i))
	}
	apply(t, nodes[1], storage.DeletePackage{Name: "app", Cascade: true})
	sameState(t, nodes...)
	eventually(t, "a fresh node opens", func() bool {
		fresh, err := tryOpen(t, cfg, "fresh")
		if err == nil {
			sameState(t, fresh, nodes[0])
		}
		return err == nil
	})
	wantQuiet(t, client, nodes[0])
}
