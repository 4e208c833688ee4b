package archtest

// This file is the table: everything a reader has to know, or to change, about
// what may stand where. The checkers in the other files only read it.

// A room is one package, or with a trailing "/..." a package and all below it.
// Where several rooms match a package, the longest path wins.
type room struct {
	path string
	// about says in a few words what lives here; it is the second column of
	// the table in docs/architecture.md.
	about string
	// mayImport lists the packages of this module that production code of the
	// room may import, in the notation of path; "*" means every package.
	mayImport []string
	// testsMayImport is added to mayImport and testSupport for _test.go files.
	testsMayImport []string
}

// rooms is the column "may import". A package without a room is an error: a new
// package needs a row here, and so a reason.
var rooms = []room{
	{path: "cmd/oprc-pm", about: "the composition root: commands, flags, wiring and the order of shutdown; no logic", mayImport: []string{"*"}},
	{path: "model", about: "the vocabulary: types, defaults, validation, JSON and YAML; no I/O, clock or randomness"},
	{path: "storage", about: "the contracts `Tx` and `Store`, commands as data, events, the key space, documents", mayImport: []string{"model"}},
	{path: "storage/bolt", about: "the driver under the FSM: one bbolt file that knows its applied index", mayImport: []string{"storage", "model"}},
	{path: "storage/memory", about: "the driver for tests and throw-away nodes", mayImport: []string{"storage", "model"}},
	{path: "storage/backup", about: "the file that a backup is, and how a store is saved to and restored from one", mayImport: []string{"storage", "model"}},
	{path: "storage/etcd", about: "the driver over a shared etcd: a copy in memory, writes in order by one head key", mayImport: []string{"model", "storage", "storage/memory", "internal/wait"}, testsMayImport: []string{"storage/backup"}},
	{path: "storage/storagetest", about: "the conformance suite that every driver passes", mayImport: []string{"storage", "storage/backup", "model"}},
	{path: "fsm", about: "the rules of the commands, their encoding, and the `raft.FSM` around them", mayImport: []string{"model", "storage", "storage/bolt", "storage/backup"}},
	{path: "cluster", about: "the Raft node: membership, forwarding, read index, leadership, bootstrap", mayImport: []string{"fsm", "storage", "storage/bolt", "model"}},
	{path: "crm", about: "the way to the CRMs: the contract of a client, HTTP and gRPC, TLS, credentials, the fleet", mayImport: []string{"model", "crm/crmpb"}, testsMayImport: []string{"crm/sim"}},
	{path: "crm/crmpb", about: "the messages and services of the gRPC CRM, generated from `crm/proto`"},
	{path: "crm/plan", about: "the pure planner: requirements, placement, units, why here and why not there", mayImport: []string{"model"}},
	{path: "crm/inventory", about: "each node's view of clusters, their health and their units, kept up by a watch", mayImport: []string{"model", "storage", "crm/plan", "internal/wait"}, testsMayImport: []string{"cluster"}},
	{path: "crm/health", about: "the leader's probes, circuit breakers and what they make of a cluster", mayImport: []string{"model", "storage", "crm", "crm/inventory", "internal/wait"}, testsMayImport: []string{"crm/sim"}},
	{path: "crm/dispatch", about: "the reconcile loop: make the clusters run what is planned; rollout, revisions, rollback", mayImport: []string{"model", "storage", "crm", "crm/plan", "crm/inventory", "internal/wait"}, testsMayImport: []string{"crm/sim", "crm/health"}},
	{path: "crm/failover", about: "moving deployments off lost and drained clusters, with a brake", mayImport: []string{"model", "storage", "crm/inventory", "crm/plan", "internal/wait"}},
	{path: "crm/drift", about: "what CRMs hold against what is recorded: lost, changed and unknown units", mayImport: []string{"model", "storage", "crm", "crm/inventory", "internal/wait"}, testsMayImport: []string{"crm/sim"}},
	{path: "crm/control", about: "what a leader run consists of", mayImport: []string{"model", "storage", "crm", "crm/plan", "crm/inventory", "crm/health", "crm/dispatch", "crm/failover", "crm/drift", "internal/wait"}, testsMayImport: []string{"crm/sim"}},
	{path: "crm/records", about: "questions to all CRMs at once, for the API", mayImport: []string{"model", "crm", "crm/inventory"}, testsMayImport: []string{"crm/sim"}},
	{path: "crm/sim", about: "the simulated CRM behind `crm-sim` and `dev`, in both protocols", mayImport: []string{"model", "crm/crmpb"}},
	{path: "httpapi", about: "routes, middleware, handlers, watch streams", mayImport: []string{"model", "storage", "storage/backup", "crm/plan"}, testsMayImport: []string{"crm", "crm/inventory", "crm/records", "crm/health", "crm/sim"}},
	{path: "bench", about: "the load harness and its reports; sees only what a client sees", mayImport: []string{"internal/client", "model", "internal/wait"}},
	{path: "internal/client", about: "the HTTP client of the API, shared by the command line and the load harness", mayImport: []string{"model", "storage", "crm/plan", "internal/wait"}},
	{path: "internal/config", about: "the configuration file, its defaults and its environment names", mayImport: []string{"model"}},
	{path: "internal/backups", about: "scheduled backups: destinations, retention, the first restore", mayImport: []string{"model", "storage", "storage/backup", "internal/wait"}},
	{path: "internal/testcluster", about: "several real nodes in one process, for tests", mayImport: []string{"*"}},
	{path: "internal/testetcd", about: "real etcd servers, and a proxy that is in the way, for tests"},
	{path: "internal/testtls", about: "certificate authorities for tests"},
	{path: "internal/testproc", about: "the shipped binary as child processes, for tests", mayImport: []string{"internal/client", "model", "storage"}},
	{path: "internal/wait", about: "the pause that a context ends, and the spread of pauses"},
	{path: "internal/archtest", about: "the tests of this table and of the documents"},
	{path: "internal/citool", about: "the helper program of `.ci/run`"},
}

// testSupport may be imported by every _test.go file.
var testSupport = []string{
	"model", "storage", "storage/memory", "storage/storagetest", "storage/backup", "fsm",
	"internal/testcluster", "internal/testetcd", "internal/testproc", "internal/testtls",
}

// A library is a module outside the standard library, and the rooms it may
// enter. Every direct requirement of go.mod has a row, and a paragraph in
// docs/decisions.md.
type library struct {
	module string
	// rooms that may import it in production code, in the notation of
	// room.path; "*" means all.
	rooms []string
	// inTests: every _test.go file may import it too.
	inTests bool
}

var libraries = []library{
	{module: "github.com/hashicorp/raft", rooms: []string{"fsm", "cluster"}},
	{module: "github.com/hashicorp/raft-boltdb/v2", rooms: []string{"cluster"}},
	{module: "github.com/hashicorp/raft-wal", rooms: []string{"cluster"}},
	{module: "github.com/hashicorp/raft-autopilot", rooms: []string{"cluster"}},
	{module: "github.com/hashicorp/memberlist", rooms: []string{"cluster"}},
	{module: "github.com/hashicorp/go-hclog", rooms: []string{"cluster"}},
	{module: "go.etcd.io/bbolt", rooms: []string{"storage/bolt", "cluster"}},
	{module: "github.com/klauspost/compress", rooms: []string{"storage/backup"}},
	{module: "github.com/minio/minio-go/v7", rooms: []string{"internal/backups"}},
	{module: "github.com/johannesboyne/gofakes3", inTests: true},
	{module: "go.etcd.io/etcd/client/v3", rooms: []string{"storage/etcd", "internal/testetcd"}, inTests: true},
	{module: "go.etcd.io/etcd/api/v3", rooms: []string{"storage/etcd"}, inTests: true},
	{module: "go.etcd.io/etcd/server/v3", rooms: []string{"internal/testetcd"}, inTests: true},
	{module: "go.uber.org/zap", rooms: []string{"storage/etcd", "internal/testetcd"}},
	{module: "github.com/tidwall/btree", rooms: []string{"storage/memory", "crm/inventory"}},
	{module: "github.com/valyala/fasthttp", rooms: []string{"httpapi", "bench"}, inTests: true},
	{module: "github.com/fasthttp/router", rooms: []string{"httpapi"}},
	{module: "github.com/VictoriaMetrics/metrics", rooms: []string{"*"}},
	{module: "github.com/spf13/cobra", rooms: []string{"cmd/oprc-pm"}},
	{module: "go.yaml.in/yaml/v3", rooms: []string{"model", "internal/config"}, inTests: true},
	{module: "github.com/go-json-experiment/json", rooms: []string{"model", "storage", "fsm", "httpapi"}, inTests: true},
	{module: "google.golang.org/grpc", rooms: []string{"crm", "crm/crmpb", "crm/sim", "storage/etcd"}, inTests: true},
	{module: "google.golang.org/protobuf", rooms: []string{"crm", "crm/crmpb", "crm/sim"}, inTests: true},
	{module: "golang.org/x/sync", rooms: []string{"*"}, inTests: true},
	{module: "github.com/google/go-cmp", rooms: []string{"storage/storagetest"}, inTests: true},
	{module: "go.uber.org/goleak", rooms: []string{"internal/testcluster"}, inTests: true},
	{module: "github.com/anishathalye/porcupine", rooms: []string{"storage/storagetest"}, inTests: true},
}

// A ban forbids a standard-library or third-party symbol.
type ban struct {
	// symbol is "import/path.Name", "import/path.Prefix*" or "import/path.*".
	// The last also forbids the import itself.
	symbol string
	// in and notIn select rooms, in the notation of room.path. An empty in
	// means everywhere.
	in, notIn []string
	// tests: the ban holds for _test.go files as well.
	tests bool
	why   string
}

const (
	whyReplica = "replicas must compute the same from the same entry; the proposer puts times, ids and random numbers into the command"
	whyModel   = "the model must give the same document on every node and do no I/O"
)

var pureRooms = []string{"fsm", "storage", "model"}

var bans = []ban{
	{symbol: "time.Now", in: pureRooms, why: whyReplica},
	{symbol: "time.Since", in: pureRooms, why: whyReplica},
	{symbol: "time.Until", in: pureRooms, why: whyReplica},
	{symbol: "math/rand.*", in: pureRooms, why: whyReplica},
	{symbol: "math/rand/v2.*", in: pureRooms, why: whyReplica},
	{symbol: "crypto/rand.*", in: pureRooms, why: whyReplica},
	{symbol: "os.*", in: []string{"model", "storage"}, why: whyModel},
	{symbol: "net.*", in: pureRooms, why: whyModel},
	{symbol: "net/http.*", in: pureRooms, why: whyModel},
	{symbol: "os.Getenv", notIn: []string{"cmd/oprc-pm", "internal/config", "internal/testcluster", "internal/testproc"}, why: "the environment is read in one place; pass the value in"},
	{symbol: "os.LookupEnv", notIn: []string{"cmd/oprc-pm", "internal/config"}, why: "the environment is read in one place; pass the value in"},
	{symbol: "os.Environ", notIn: []string{"cmd/oprc-pm", "internal/config", "internal/testproc"}, why: "the environment is read in one place; pass the value in"},
	{symbol: "os.Exit", notIn: []string{"cmd/oprc-pm", "internal/citool"}, why: "only the composition root may end the process; return an error"},
	// A *log.Logger for a library that wants one is fine, the global one is not.
	{symbol: "log.Print*", tests: true, why: whyLog},
	{symbol: "log.Fatal*", tests: true, why: whyLog},
	{symbol: "log.Panic*", tests: true, why: whyLog},
	{symbol: "log.Default", tests: true, why: whyLog},
	{symbol: "log/slog.SetDefault", notIn: []string{"cmd/oprc-pm"}, tests: true, why: whyLog},
	{symbol: "time.Sleep", tests: true, why: "wait for the condition, or for a timer and the context; a sleep is either too long or too short"},
	{symbol: "time.Tick", why: "its ticker cannot be stopped; use time.NewTicker"},
	{symbol: "net/http.DefaultClient", tests: true, why: "it has no timeout and its connections outlive the caller"},
	{symbol: "net/http.Get", tests: true, why: "the default client has no timeout and its connections outlive the caller"},
	{symbol: "net/http.Post*", tests: true, why: "the default client has no timeout and its connections outlive the caller"},
	{symbol: "net/http/pprof.*", notIn: []string{"cmd/oprc-pm", "httpapi"}, why: "importing it registers handlers on the default mux"},
	{symbol: "github.com/VictoriaMetrics/metrics.NewCounter", tests: true, why: whyMetrics},
	{symbol: "github.com/VictoriaMetrics/metrics.NewFloatCounter", tests: true, why: whyMetrics},
	{symbol: "github.com/VictoriaMetrics/metrics.NewGauge", tests: true, why: whyMetrics},
	{symbol: "github.com/VictoriaMetrics/metrics.NewHistogram", tests: true, why: whyMetrics},
	{symbol: "github.com/VictoriaMetrics/metrics.NewSummary*", tests: true, why: whyMetrics},
	{symbol: "github.com/VictoriaMetrics/metrics.GetOrCreate*", tests: true, why: whyMetrics},
}

const whyLog = "log with log/slog, through the logger that was passed in: a process may hold several nodes"

const whyMetrics = "the global metric set is shared by all nodes of a process; use the *metrics.Set that was passed in"

// An exemption allows one banned symbol in one file.
type exemption struct{ file, symbol, reason string }

var exemptions = []exemption{}

// bannedNames are package names that say nothing about what is inside.
var bannedNames = []string{"base", "common", "errors", "helper", "helpers", "misc", "shared", "types", "util", "utils"}

// topLevel is every folder that may stand at the top of the tree.
var topLevel = []string{"bench", "cluster", "cmd", "crm", "deploy", "docs", "fsm", "httpapi", "internal", "model", "storage"}

// maxFileLines is where a file has certainly become more than one concept.
// Generated files are exempt.
const maxFileLines = 800
