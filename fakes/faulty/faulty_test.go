package faulty_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/fakes/faulty"
)

// desk is an API that keeps what it carried out.
type desk struct {
	mu   sync.Mutex
	done []string
}

func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	d.mu.Lock()
	d.done = append(d.done, r.Method+" "+string(body))
	d.mu.Unlock()
	w.Header().Set("X-Desk", "open")
	_, _ = io.WriteString(w, "done")
}

func (d *desk) Refuse(w http.ResponseWriter, _ *http.Request, status int) {
	http.Error(w, "no, said the desk", status)
}

func (d *desk) carriedOut() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.done
}

// serve gives an API behind an injector.
func serve(t *testing.T, in faulty.Injector) (*desk, *httptest.Server) {
	d := &desk{}
	s := httptest.NewServer(faulty.Wrap(faulty.With(context.Background(), in), d))
	t.Cleanup(s.Close)
	return d, s
}

func post(s *httptest.Server, kind, body string) (status int, header http.Header, answer string, err error) {
	r, err := s.Client().Post(s.URL+"/messages?x=1", kind, strings.NewReader(body))
	if err != nil {
		return 0, nil, "", err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	return r.StatusCode, r.Header, string(text), err
}

const form = "application/x-www-form-urlencoded"

func TestWithoutInjector(t *testing.T) {
	d := &desk{}
	require.Same(t, d, faulty.Wrap(t.Context(), d))
}

func TestFates(t *testing.T) {
	t.Run("served", func(t *testing.T) {
		d, s := serve(t, func(faulty.Request) faulty.Outcome { return faulty.Outcome{} })
		status, header, answer, err := post(s, form, "To=ana")
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, "open", header.Get("X-Desk"))
		require.Equal(t, "done", answer)
		require.Equal(t, []string{"POST To=ana"}, d.carriedOut())
	})
	t.Run("refused", func(t *testing.T) {
		for status, after := range map[int]string{500: "", 503: "", 429: "10"} {
			d, s := serve(t, func(faulty.Request) faulty.Outcome { return faulty.Outcome{Fate: faulty.Refused, Status: status} })
			got, header, answer, err := post(s, form, "To=ana")
			require.NoError(t, err)
			require.Equal(t, status, got)
			require.Equal(t, after, header.Get("Retry-After"))
			require.Equal(t, "no, said the desk\n", answer)
			require.Empty(t, d.carriedOut())
		}
	})
	t.Run("lost", func(t *testing.T) {
		d, s := serve(t, func(faulty.Request) faulty.Outcome { return faulty.Outcome{Fate: faulty.Lost} })
		_, _, _, err := post(s, form, "To=ana")
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, []string{"POST To=ana"}, d.carriedOut())
	})
	t.Run("ignored", func(t *testing.T) {
		came := make(chan struct{})
		d, s := serve(t, func(faulty.Request) faulty.Outcome {
			close(came)
			return faulty.Outcome{Fate: faulty.Ignored}
		})
		ctx, cancel := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, strings.NewReader("{}"))
		require.NoError(t, err)
		go func() {
			<-came
			cancel()
		}()
		_, err = s.Client().Do(r)
		require.ErrorIs(t, err, context.Canceled)
		s.Close() // waits until no request is held
		require.Empty(t, d.carriedOut())
	})
}

// A kept answer is given again without asking, and another key asks again. What
// was refused is not kept.
func TestRepeated(t *testing.T) {
	key := "first"
	d, s := serve(t, func(faulty.Request) faulty.Outcome { return faulty.Outcome{Fate: faulty.Repeated, Key: key} })
	for _, body := range []string{"a", "b"} {
		status, header, answer, err := post(s, "text/plain", body)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, "open", header.Get("X-Desk"))
		require.Equal(t, "done", answer)
	}
	require.Equal(t, []string{"POST a"}, d.carriedOut())
	for n := range 300 {
		key = fmt.Sprint("key ", n)
		_, _, _, err := post(s, "text/plain", key)
		require.NoError(t, err)
	}
	require.Len(t, d.carriedOut(), 301)
	key = "first"
	_, _, _, err := post(s, "text/plain", "forgotten")
	require.NoError(t, err)
	require.Len(t, d.carriedOut(), 302)

	no := &refuser{}
	refusing := httptest.NewServer(faulty.Wrap(faulty.With(t.Context(), func(faulty.Request) faulty.Outcome {
		return faulty.Outcome{Fate: faulty.Repeated, Key: "it"}
	}), no))
	t.Cleanup(refusing.Close)
	for range 2 {
		status, _, _, err := post(refusing, "text/plain", "")
		require.NoError(t, err)
		require.Equal(t, http.StatusServiceUnavailable, status)
	}
	require.Equal(t, 2, no.asked)
}

// refuser is an API that carries nothing out.
type refuser struct {
	desk
	asked int
}

func (r *refuser) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.asked++
	r.Refuse(w, req, http.StatusServiceUnavailable)
}

func TestWhatIsKnown(t *testing.T) {
	long := "Body=" + strings.Repeat("x", 70<<10)
	for _, test := range []struct {
		method, kind, body string
		what               string
		write              bool
	}{
		{"GET", "", "", "GET /messages?x=1 ", false},
		{"HEAD", "", "", "HEAD /messages?x=1 ", false},
		{"PUT", "application/octet-stream", "data", "PUT /messages?x=1 ", true},
		{"DELETE", "", "", "DELETE /messages?x=1 ", true},
		{"POST", "application/json", `{"a":1}`, "POST /messages?x=1 ", true},
		{"POST", form, "To=ana&Body=hi", "POST /messages?x=1 To=ana&Body=hi", true},
		{"POST", form + "; charset=utf-8", "Action=Publish&Message=hi", "POST /messages?x=1 Action=Publish&Message=hi", true},
		{"POST", form, "Action=DescribeTags", "POST /messages?x=1 Action=DescribeTags", false},
		{"POST", form, "Action=GetSMSAttributes", "POST /messages?x=1 Action=GetSMSAttributes", false},
		{"POST", form, "Action=CheckIfPhoneNumberIsOptedOut", "POST /messages?x=1 Action=CheckIfPhoneNumberIsOptedOut", false},
		{"POST", form, "Action=ListSMSSandboxPhoneNumbers", "POST /messages?x=1 Action=ListSMSSandboxPhoneNumbers", false},
		{"POST", form, "Action=%", "POST /messages?x=1 Action=%", true},
		{"POST", form, long, "POST /messages?x=1 " + long[:64<<10], true},
		{"POST", "; nonsense", "a=b", "POST /messages?x=1 ", true},
	} {
		t.Run(test.method+" "+test.body[:min(len(test.body), 20)], func(t *testing.T) {
			var got faulty.Request
			d, s := serve(t, func(r faulty.Request) faulty.Outcome {
				got = r
				return faulty.Outcome{}
			})
			r, err := http.NewRequestWithContext(t.Context(), test.method, s.URL+"/messages?x=1", strings.NewReader(test.body))
			require.NoError(t, err)
			if test.kind != "" {
				r.Header.Set("Content-Type", test.kind)
			}
			resp, err := s.Client().Do(r)
			require.NoError(t, err)
			resp.Body.Close()
			require.Equal(t, faulty.Request{From: netip.MustParseAddr("127.0.0.1"), Write: test.write, What: test.what}, got)
			require.Equal(t, []string{test.method + " " + test.body}, d.carriedOut(), "looking changes nothing")
		})
	}
}
