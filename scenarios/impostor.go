package scenarios

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/scenarios/oracle"
	"github.com/espra/protoplex/scenarios/pki"
	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/sim"
)

// impostorName is the machine to which false routes lead.
const impostorName = "impostor"

// addImpostor boots the machine, unless it is there: a name server that sends
// everybody who asks for the platform to itself, and a web server for whoever
// comes, with a certificate for all the platform's names from an authority that
// nobody trusts. It is part of no topology, so no selector finds it.
func (p *platform) addImpostor() error {
	if p.hosts[impostorName] != nil {
		return nil
	}
	m := p.world.NewMachine(impostorName, sim.In(impostorName, ""))
	p.hosts[impostorName] = m
	ca, err := pki.New(p.validity())
	if err != nil {
		return fmt.Errorf("set up %s: %w", impostorName, err)
	}
	cert, err := ca.Leaf(append(p.hostNames(), story.Apex)...)
	if err != nil {
		return fmt.Errorf("set up %s: %w", impostorName, err)
	}
	// Of marks and all else beside addresses it knows nothing.
	z := newZone(story.Apex, "ns1."+story.Apex)
	z.add("@", 60, "NS", "ns1."+story.Apex+".")
	z.add("@", 60, "A", m.Addr().String())
	z.add("*", 60, "A", m.Addr().String())
	if err := p.files(impostorName, map[string][]byte{certFile: cert, "/zone": []byte(z.String())}); err != nil {
		return fmt.Errorf("set up %s: %w", impostorName, err)
	}
	p.run(impostorName, "authority", "--zonefile", "/zone")
	p.run(impostorName, "impostor")
	return nil
}

// impostorPatience bounds what a visitor may take.
const impostorPatience = 10 * time.Second

// runImpostor is the web server. The log tells of each visitor whether it was
// believed: whether the visitor went on once it had seen the certificate.
func runImpostor(ctx context.Context, m nodes.Machine, _ []string) error {
	pem, err := nodes.ReadFile(m.Disk(), certFile, 1<<20)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(pem, pem)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	l, err := m.Listen("tcp", ":443")
	if err != nil {
		return err
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, Time: m.Now, SessionTicketsDisabled: true}
	var visits sync.WaitGroup
	defer visits.Wait()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		visits.Go(func() { receive(ctx, m, tls.Server(conn, config)) })
	}
}

// receive answers one visitor, whatever it asks.
func receive(ctx context.Context, m nodes.Machine, conn *tls.Conn) {
	from, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
	ctx, cancel := nodes.Timeout(ctx, m, "visit "+conn.RemoteAddr().String(), impostorPatience)
	defer cancel()
	defer context.AfterFunc(ctx, func() { conn.NetConn().Close() })()
	defer conn.NetConn().Close()
	if err := conn.HandshakeContext(ctx); err != nil {
		if ctx.Err() == nil { // else it only took too long
			m.Log().Info("impostor refused", "from", from)
		}
		return
	}
	m.Log().Info("impostor believed", "from", from)
	const page = "All is well. Please sign in.\n"
	fmt.Fprintf(conn, "HTTP/1.1 %d OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", http.StatusOK, len(page), page)
	_, _ = io.Copy(io.Discard, io.LimitReader(conn, 64<<10)) // until the visitor has read it
}

// visit keeps what an impostor tells of a visitor.
func (w *watcher) visit(e sim.Event) {
	v := oracle.Visit{At: e.At, From: e.Get("from"), Believed: e.Kind == logEvent+"impostor believed"}
	for _, m := range w.p.machines {
		if w.p.addr(m.Name).String() == v.From {
			v.From = m.Name
		}
	}
	w.visits = append(w.visits, v)
	if v.Believed {
		w.tell(e.At, "impostor", "%s believes that it is %s", v.From, story.Apex)
	} else if w.first("impostor refused") {
		w.tell(e.At, "impostor", "the first to be led to it, %s, sees its certificate and leaves", v.From)
	}
}
