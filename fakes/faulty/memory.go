package faulty

import (
	"bytes"
	"maps"
	"net/http"
	"slices"
	"sync"
)

const (
	maxAnswers = 256       // that are kept, of those that were given last
	maxAnswer  = 256 << 10 // bytes; a longer one is not kept
)

// memory keeps answers to give them again. Its zero value is ready to use.
type memory struct {
	mu   sync.Mutex
	keys []string // oldest first
	kept map[string]*answer
}

// answer is one that an API gave.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// serve gives the answer that is kept under the key, or the API's, which is kept
// from then on if it is a good one.
func (m *memory) serve(w http.ResponseWriter, r *http.Request, key string, api http.Handler) {
	m.mu.Lock()
	old := m.kept[key]
	m.mu.Unlock()
	if old == nil {
		old = &answer{header: http.Header{}, status: http.StatusOK}
		api.ServeHTTP(recorder{old}, r)
		m.keep(key, old)
	}
	maps.Copy(w.Header(), old.header)
	w.WriteHeader(old.status)
	_, _ = w.Write(old.body.Bytes()) // a client that has gone needs nothing
}

func (m *memory) keep(key string, a *answer) {
	if a.status >= http.StatusMultipleChoices || a.body.Len() > maxAnswer {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.kept == nil {
		m.kept = map[string]*answer{}
	}
	if m.kept[key] == nil {
		m.keys = append(m.keys, key)
	}
	m.kept[key] = a
	if len(m.keys) > maxAnswers {
		delete(m.kept, m.keys[0])
		m.keys = slices.Delete(m.keys, 0, 1)
	}
}

// recorder takes an answer down.
type recorder struct{ to *answer }

// Header implements http.ResponseWriter.
func (r recorder) Header() http.Header { return r.to.header }

// Write implements http.ResponseWriter.
func (r recorder) Write(p []byte) (int, error) { return r.to.body.Write(p) }

// WriteHeader implements http.ResponseWriter.
func (r recorder) WriteHeader(status int) { r.to.status = status }
