package config

import (
	"time"
)

// Config is everything that can be set about a node. Durations are Go durations
// in text (30s); a bare number counts seconds, as in the specification's files.
type Config struct {
	Server        Server        `yaml:"server"`
	Cluster       Cluster       `yaml:"cluster"`
	Raft          Raft          `yaml:"raft"`
	Disk          Disk          `yaml:"disk"`
	Storage       Storage       `yaml:"storage"`
	CRM           CRM           `yaml:"crm"`
	Packages      Packages      `yaml:"packages"`
	Backup        Backup        `yaml:"backup"`
	Observability Observability `yaml:"observability"`
}

// Server is the HTTP API. A file may say host and port in place of http_addr.
type Server struct {
	// HTTPAddr is where the API listens, HOST:PORT.
	HTTPAddr string `yaml:"http_addr"`
	// Workers is accepted for the specification's sake and has no effect:
	// connections are served by goroutines.
	Workers int `yaml:"workers"`
	// ShutdownTimeout bounds a clean stop, all steps together.
	ShutdownTimeout time.Duration `yaml:"shutdown_timeout"`
	// MaxBodyBytes bounds a request's body.
	MaxBodyBytes int `yaml:"max_body_bytes"`
	// MaxHeaderBytes bounds a request's line and headers together.
	MaxHeaderBytes int `yaml:"max_header_bytes"`
	// ReadTimeout, WriteTimeout and IdleTimeout bound the reading of a request,
	// the writing of an answer, and the silence between two requests.
	ReadTimeout  time.Duration `yaml:"read_timeout"`
	WriteTimeout time.Duration `yaml:"write_timeout"`
	IdleTimeout  time.Duration `yaml:"idle_timeout"`
	// RequestTimeout is how long a read or a write may wait for the store.
	RequestTimeout time.Duration `yaml:"request_timeout"`
	// MaxConns bounds the connections served at once, MaxConnsPerIP those of one
	// client address; 0 for the latter is no limit.
	MaxConns      int `yaml:"max_conns"`
	MaxConnsPerIP int `yaml:"max_conns_per_ip"`
	// MaxInFlight bounds the requests handled at once.
	MaxInFlight int `yaml:"max_in_flight"`
	// MaxWatchers bounds the watch streams served at once.
	MaxWatchers int `yaml:"max_watchers"`
	// CORSAllowOrigin is the origin whose pages may call the API; * is any, and
	// empty none.
	CORSAllowOrigin string `yaml:"cors_allow_origin"`
}

// Cluster is how nodes find and name each other.
type Cluster struct {
	// NodeName is the name in lists and logs; empty means the host's name.
	NodeName string `yaml:"node_name"`
	// DataDir holds everything that this node must not forget.
	DataDir string `yaml:"data_dir"`
	// ClusterAddr is where Raft and node-to-node calls listen, HOST:PORT.
	ClusterAddr string `yaml:"cluster_addr"`
	// GossipAddr is where discovery listens (TCP and UDP), HOST:PORT.
	GossipAddr string `yaml:"gossip_addr"`
	// AdvertiseHost is the name or address by which peers reach this node; a
	// name stays a name. Empty means found out from the addresses listened on.
	AdvertiseHost string `yaml:"advertise_host"`
	// Join are the nodes to ask for the others, HOST or HOST:PORT (gossip).
	Join []string `yaml:"join"`
	// BootstrapExpect is the number of nodes that must have met before they
	// form a new cluster. It must be the same on all of them and has no effect
	// once a cluster exists.
	BootstrapExpect int `yaml:"bootstrap_expect"`
	// Autopilot is when servers become voters and when dead ones go.
	Autopilot Autopilot `yaml:"autopilot"`
}

// Autopilot is how the leader looks after the servers.
type Autopilot struct {
	// CleanupDeadServers removes servers that were silent for longer than
	// DeadServerThreshold, while all others are healthy.
	CleanupDeadServers  bool          `yaml:"cleanup_dead_servers"`
	DeadServerThreshold time.Duration `yaml:"dead_server_threshold"`
	// LastContactThreshold and MaxTrailingLogs are the limits of a healthy server:
	// how long ago it heard from the leader, and how many entries it is behind.
	LastContactThreshold time.Duration `yaml:"last_contact_threshold"`
	MaxTrailingLogs      int           `yaml:"max_trailing_logs"`
	// ServerStabilizationTime is how long a new server must be healthy before it
	// votes.
	ServerStabilizationTime time.Duration `yaml:"server_stabilization_time"`
	// MinQuorum is the number of voters below which none is removed by itself; 0
	// means a majority of bootstrap_expect or of the voters, whichever is more.
	MinQuorum int `yaml:"min_quorum"`
}

// Raft is the replicated log.
type Raft struct {
	// LogStore is where the log is kept: boltdb or wal.
	LogStore LogStore `yaml:"log_store"`
	// HeartbeatTimeout without a word from the leader makes a follower suspect
	// it; ElectionTimeout is then how long a candidate waits for votes.
	HeartbeatTimeout time.Duration `yaml:"heartbeat_timeout"`
	ElectionTimeout  time.Duration `yaml:"election_timeout"`
	// LeaderLeaseTimeout is how long a leader stays one without hearing from a
	// majority; at most HeartbeatTimeout.
	LeaderLeaseTimeout time.Duration `yaml:"leader_lease_timeout"`
	// CommitTimeout is the longest that a follower lags behind an otherwise idle
	// leader.
	CommitTimeout time.Duration `yaml:"commit_timeout"`
	// Every SnapshotInterval, a snapshot is taken when SnapshotThreshold entries
	// have been applied since the last. TrailingLogs entries are kept after it,
	// for followers that are a little behind.
	SnapshotInterval  time.Duration `yaml:"snapshot_interval"`
	SnapshotThreshold int           `yaml:"snapshot_threshold"`
	TrailingLogs      int           `yaml:"trailing_logs"`
}

// LogStore names an implementation of the Raft log on disk.
type LogStore string

const (
	LogStoreBolt LogStore = "boltdb"
	LogStoreWAL  LogStore = "wal"
)

// UnmarshalText accepts any case.
func (s *LogStore) UnmarshalText(text []byte) error { *s = LogStore(lower(text)); return nil }

// Storage says which driver holds the documents. A file may say storage_type in
// place of type.
type Storage struct {
	Type   StorageType `yaml:"type"`
	Etcd   Etcd        `yaml:"etcd"`
	Memory Memory      `yaml:"memory"`
}

// StorageType names a storage driver.
type StorageType string

const (
	// StorageRaft replicates among the nodes themselves.
	StorageRaft StorageType = "raft"
	// StorageEtcd keeps everything in a shared etcd.
	StorageEtcd StorageType = "etcd"
	// StorageMemory keeps everything in this process, and loses it with it.
	StorageMemory StorageType = "memory"
)

// UnmarshalText accepts any case.
func (s *StorageType) UnmarshalText(text []byte) error { *s = StorageType(lower(text)); return nil }

// Memory has no settings yet; the specification's files may name the section.
type Memory struct{}

// Etcd is how to reach a shared etcd.
type Etcd struct {
	Endpoints []string      `yaml:"endpoints"`
	KeyPrefix string        `yaml:"key_prefix"`
	Username  string        `yaml:"username"`
	Password  Secret        `yaml:"password"`
	Timeout   time.Duration `yaml:"timeout"`
	TLS       TLS           `yaml:"tls"`
	// SessionTTL, whole seconds, is after how long a silent node loses leadership.
	SessionTTL time.Duration `yaml:"session_ttl"`
	// MaxTxnOps and MaxRequestBytes must be etcd's --max-txn-ops and
	// --max-request-bytes, or less.
	MaxTxnOps       int `yaml:"max_txn_ops"`
	MaxRequestBytes int `yaml:"max_request_bytes"`
}

// TLS is the client side of a TLS connection. A file may leave out _path in the
// names of the three files.
type TLS struct {
	// Enabled turns TLS on for etcd. For a CRM its URL does: https://.
	Enabled        bool   `yaml:"enabled"`
	CACertPath     string `yaml:"ca_cert_path"`
	ClientCertPath string `yaml:"client_cert_path"`
	ClientKeyPath  string `yaml:"client_key_path"`
	// ServerName is expected in the server's certificate; empty means the host
	// that is called.
	ServerName string `yaml:"server_name"`
	Insecure   bool   `yaml:"insecure"`
}

// Packages is what may be done to packages.
type Packages struct {
	// DeleteCascade makes the deletion of a package take its deployments along
	// even where the request does not ask for it.
	DeleteCascade bool `yaml:"delete_cascade"`
}

// Observability is what a node tells about itself.
type Observability struct {
	// LogLevel is debug, info, warn or error.
	LogLevel LogLevel `yaml:"log_level"`
	// LogFormat is text or json.
	LogFormat LogFormat `yaml:"log_format"`
	// MetricsPort is accepted for the specification's sake and has no effect:
	// metrics are served at /metrics of the API's address.
	MetricsPort int `yaml:"metrics_port"`
	// JaegerEndpoint is accepted for the specification's sake and has no effect.
	JaegerEndpoint string `yaml:"jaeger_endpoint"`
}

// LogLevel is the least important level that is logged.
type LogLevel string

// UnmarshalText accepts any case, warning for warn, and trace for debug.
func (l *LogLevel) UnmarshalText(text []byte) error {
	switch level := lower(text); level {
	case "warning":
		*l = "warn"
	case "trace":
		*l = "debug"
	default:
		*l = LogLevel(level)
	}
	return nil
}

// LogFormat is the form of a log line.
type LogFormat string

const (
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

// UnmarshalText accepts any case, and plain for text.
func (f *LogFormat) UnmarshalText(text []byte) error {
	if *f = LogFormat(lower(text)); *f == "plain" {
		*f = LogText
	}
	return nil
}

// DefaultConfig returns the settings of a node about which nothing was said.
func DefaultConfig() Config {
	return Config{
		Server: Server{
			HTTPAddr:        "0.0.0.0:8080",
			ShutdownTimeout: 15 * time.Second,
			MaxBodyBytes:    8 << 20,
			MaxHeaderBytes:  16 << 10,
			ReadTimeout:     30 * time.Second,
			WriteTimeout:    30 * time.Second,
			IdleTimeout:     2 * time.Minute,
			RequestTimeout:  10 * time.Second,
			MaxConns:        4096,
			MaxConnsPerIP:   1024,
			MaxInFlight:     2048,
			MaxWatchers:     1024,
			CORSAllowOrigin: "*",
		},
		Cluster: Cluster{
			DataDir:         "./data",
			ClusterAddr:     "0.0.0.0:7000",
			GossipAddr:      "0.0.0.0:7946",
			BootstrapExpect: 1,
			Autopilot: Autopilot{
				CleanupDeadServers:      true,
				DeadServerThreshold:     5 * time.Minute,
				LastContactThreshold:    time.Second,
				MaxTrailingLogs:         250,
				ServerStabilizationTime: 10 * time.Second,
			},
		},
		Raft: Raft{
			LogStore:           LogStoreBolt,
			HeartbeatTimeout:   500 * time.Millisecond,
			ElectionTimeout:    500 * time.Millisecond,
			LeaderLeaseTimeout: 400 * time.Millisecond,
			CommitTimeout:      10 * time.Millisecond,
			SnapshotInterval:   30 * time.Second,
			SnapshotThreshold:  8192,
			TrailingLogs:       10240,
		},
		Storage: Storage{
			Type: StorageRaft,
			Etcd: Etcd{
				Endpoints: []string{"localhost:2379"},
				KeyPrefix: "/oaas/pm",
				Timeout:   30 * time.Second,

				SessionTTL:      10 * time.Second,
				MaxTxnOps:       128,
				MaxRequestBytes: 3 << 19,
			},
		},
		Disk:          DefaultDisk(),
		CRM:           DefaultCRM(),
		Backup:        DefaultBackup(),
		Observability: Observability{LogLevel: "info", LogFormat: LogText},
	}
}
