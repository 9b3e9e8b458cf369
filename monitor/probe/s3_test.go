package probe_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/fakes/s3"
	"github.com/espra/protoplex/monitor/probe"
	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/aws"
)

// store is a real S3 server with one object in it.
func store(t *testing.T, m nodes.Machine) string {
	server := "http://" + serveS3(t, m)
	blobs, err := aws.NewBlobs(m, aws.BlobsOptions{Endpoint: server, Region: "us-east-1", Bucket: "espra", Key: "AKID", Secret: "secret"})
	require.NoError(t, err)
	const text = "the canary sings"
	_, err = blobs.Put(t.Context(), "probes/canary file", strings.NewReader(text), int64(len(text)), nodes.PutOptions{})
	require.NoError(t, err)
	return server
}

func serveS3(t *testing.T, m nodes.Machine) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	done := make(chan error, 1)
	go func() {
		done <- s3.Run(t.Context(), m, []string{"--listen", address, "--bucket", "espra", "--key", "AKID:secret", "--region", "us-east-1"})
	}()
	t.Cleanup(func() { <-done })
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}, 10*time.Second, time.Millisecond)
	return address
}

func TestS3(t *testing.T) {
	root := t.TempDir()
	for name, line := range map[string]string{"good": "AKID:secret\n", "bad": "AKID:guess\n", "none": "AKID"} {
		require.NoError(t, os.WriteFile(filepath.Join(root, name), []byte(line), 0o600))
	}
	m := machineAt(t, root)
	server := store(t, m)
	for _, tt := range []struct {
		name   string
		target probe.Target
		want   string
	}{
		{"there", probe.Target{URL: server + "/espra/probes/canary%20file", Credentials: "/good", Contains: "sings"}, ""},
		{"another text", probe.Target{URL: server + "/espra/probes/canary%20file", Credentials: "/good", Contains: "fell"}, `check: the body does not contain "fell"`},
		{"not there", probe.Target{URL: server + "/espra/none", Credentials: "/good"}, `check: status 404, want 200: "NoSuchKey"`},
		{"not there, as wanted", probe.Target{URL: server + "/espra/none", Credentials: "/good", Status: 404}, ""},
		{"wrong secret", probe.Target{URL: server + "/espra/probes/canary%20file", Credentials: "/bad"}, `check: status 403, want 200: "SignatureDoesNotMatch"`},
		{"wrong region", probe.Target{URL: server + "/espra/none", Credentials: "/good", AWSRegion: "eu-west-1"}, "check: status 4"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.target.Kind = "s3"
			if tt.target.AWSRegion == "" {
				tt.target.AWSRegion = "us-east-1"
			}
			r := see(t, m, tt.target, probe.Options{Limit: time.Second})
			require.Equal(t, []string{"connect", "first byte", "body"}, phases(r))
			if tt.want == "" {
				require.NoError(t, r.Err)
				return
			}
			require.ErrorContains(t, r.Err, tt.want)
		})
	}
	t.Run("credentials", func(t *testing.T) {
		target := probe.Target{Name: "it", Kind: "s3", URL: server, AWSRegion: "us-east-1", Credentials: "/none"}
		_, err := target.Probe(m, probe.Options{})
		require.EqualError(t, err, "it: credentials: /none: want one line ID:SECRET")
		require.NotContains(t, err.Error(), "AKID")
	})
	// One request is one request: what fails is told, and not tried again.
	t.Run("no retry", func(t *testing.T) {
		requests := 0
		slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests++
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, "<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>")
		}))
		defer slow.Close()
		r := see(t, m, probe.Target{Kind: "s3", URL: slow.URL + "/espra/x", AWSRegion: "us-east-1", Credentials: "/good"}, probe.Options{Limit: time.Second})
		require.EqualError(t, r.Err, `check: status 503, want 200: "SlowDown"`)
		require.Equal(t, 1, requests)
	})
}
