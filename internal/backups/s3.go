package backups

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// S3 says where S3-compatible storage is.
type S3 struct {
	// Endpoint is a URL: its scheme decides about TLS.
	Endpoint string
	Bucket   string
	// Prefix of the names, without a slash at either end.
	Prefix string
	Region string
	// AccessKey and SecretKey; the latter may instead be in SecretKeyFile, which is
	// read again for every connection.
	AccessKey, SecretKey, SecretKeyFile string
	// PathStyle puts the bucket into the path instead of the host's name.
	PathStyle bool
	// CACertPath is a file of certificates to trust; Insecure trusts anybody.
	CACertPath string
	Insecure   bool
}

const (
	// partBytes is how much of a backup is in memory at once.
	partBytes = 16 << 20
	// s3Timeout bounds the silence of a server.
	s3Timeout = 30 * time.Second
)

type bucket struct {
	cfg       S3
	client    *minio.Client
	transport *http.Transport
}

// NewS3 keeps backups in a bucket, which must exist. It does no I/O but reading files.
func NewS3(cfg S3) (Destination, error) {
	endpoint, err := url.Parse(cfg.Endpoint)
	if err != nil || endpoint.Host == "" || endpoint.Scheme != "http" && endpoint.Scheme != "https" || strings.Trim(endpoint.Path, "/") != "" {
		return nil, errors.New("the endpoint must be http://HOST[:PORT] or https://HOST[:PORT]")
	}
	transport, err := newTransport(cfg)
	if err != nil {
		return nil, err
	}
	lookup := minio.BucketLookupAuto
	if cfg.PathStyle {
		lookup = minio.BucketLookupPath
	}
	cfg.Prefix = strings.Trim(cfg.Prefix, "/")
	client, err := minio.New(endpoint.Host, &minio.Options{
		Creds: credentials.New(&keyProvider{cfg}), Secure: endpoint.Scheme == "https", Region: cfg.Region,
		BucketLookup: lookup, Transport: transport,
	})
	if err != nil {
		return nil, fmt.Errorf("make S3 client: %w", err)
	}
	return &bucket{cfg: cfg, client: client, transport: transport}, nil
}

func newTransport(cfg S3) (*http.Transport, error) {
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: cfg.Insecure} //nolint:gosec // asked for
	if cfg.CACertPath != "" {
		pem, err := os.ReadFile(cfg.CACertPath)
		if err != nil {
			return nil, fmt.Errorf("read CA certificates: %w", err)
		}
		tlsConfig.RootCAs = x509.NewCertPool()
		if !tlsConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", cfg.CACertPath)
		}
	}
	return &http.Transport{
		Proxy:       http.ProxyFromEnvironment,
		DialContext: (&net.Dialer{Timeout: s3Timeout}).DialContext, TLSClientConfig: tlsConfig,
		TLSHandshakeTimeout: s3Timeout, ResponseHeaderTimeout: 2 * s3Timeout, IdleConnTimeout: s3Timeout,
		MaxIdleConnsPerHost: 4, ForceAttemptHTTP2: true,
		// Answers must arrive as they are stored.
		DisableCompression: true,
	}, nil
}

// keyProvider hands out the keys, and notices when the file of the secret changes.
type keyProvider struct{ cfg S3 }

// Retrieve implements credentials.Provider.
func (p *keyProvider) Retrieve() (credentials.Value, error) {
	secret := p.cfg.SecretKey
	if p.cfg.SecretKeyFile != "" {
		text, err := os.ReadFile(p.cfg.SecretKeyFile)
		if err != nil {
			return credentials.Value{}, fmt.Errorf("read secret key: %w", err)
		}
		secret = strings.TrimSpace(string(text))
	}
	v := credentials.Value{AccessKeyID: p.cfg.AccessKey, SecretAccessKey: secret, SignerType: credentials.SignatureV4}
	if v.AccessKeyID == "" {
		v.SignerType = credentials.SignatureAnonymous
	}
	return v, nil
}

// RetrieveWithCredContext implements credentials.Provider.
func (p *keyProvider) RetrieveWithCredContext(*credentials.CredContext) (credentials.Value, error) {
	return p.Retrieve()
}

// IsExpired implements credentials.Provider.
func (p *keyProvider) IsExpired() bool { return p.cfg.SecretKeyFile != "" }

func (b *bucket) String() string {
	return strings.TrimRight(b.cfg.Endpoint, "/") + "/" + path.Join(b.cfg.Bucket, b.cfg.Prefix)
}

func (b *bucket) Close() { b.transport.CloseIdleConnections() }

func (b *bucket) key(name string) string { return path.Join(b.cfg.Prefix, name) }

// Put uploads in parts as they come; the object exists once the last one is there.
func (b *bucket) Put(ctx context.Context, name string, write func(w io.Writer) error) error {
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() { // ends with the pipe
		err := write(w)
		written <- err
		// Without an error this is the end of the file.
		_ = w.CloseWithError(err)
	}()
	_, err := b.client.PutObject(ctx, b.cfg.Bucket, b.key(name), r, -1, minio.PutObjectOptions{
		ContentType: "application/octet-stream", PartSize: partBytes, SendContentMd5: true,
	})
	if err != nil {
		_ = r.CloseWithError(err) // who writes learns of it
	} else {
		_ = r.Close()
	}
	if werr := <-written; werr != nil && (err == nil || !errors.Is(werr, err)) {
		err = errors.Join(err, werr)
	}
	if err != nil {
		return fmt.Errorf("upload backup: %w", err)
	}
	return nil
}

func (b *bucket) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	object, err := b.client.GetObject(ctx, b.cfg.Bucket, b.key(name), minio.GetObjectOptions{})
	if err != nil {
		return nil, fmt.Errorf("download backup: %w", err)
	}
	return object, nil
}

func (b *bucket) List(ctx context.Context) ([]File, error) {
	prefix := b.cfg.Prefix
	if prefix != "" {
		prefix += "/"
	}
	var files []File
	for object := range b.client.ListObjectsIter(ctx, b.cfg.Bucket, minio.ListObjectsOptions{Prefix: prefix + "oprc-"}) {
		if object.Err != nil {
			return nil, fmt.Errorf("list backups: %w", object.Err)
		}
		if file, ok := parseName(strings.TrimPrefix(object.Key, prefix), object.Size); ok {
			files = append(files, file)
		}
	}
	return files, ctx.Err()
}

func (b *bucket) Remove(ctx context.Context, name string) error {
	if err := b.client.RemoveObject(ctx, b.cfg.Bucket, b.key(name), minio.RemoveObjectOptions{}); err != nil {
		return fmt.Errorf("remove backup: %w", err)
	}
	return nil
}
