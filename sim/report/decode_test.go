package report

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// decoded is what a page carries, read as data.js reads it.
type decoded struct {
	head     head
	events   []string
	marks    []uint64
	messages []string
	counts   [][]uint64
}

func decode(t *testing.T, page string) decoded {
	t.Helper()
	_, rest, found := strings.Cut(page, `<template id="data">`)
	require.True(t, found)
	text, _, found := strings.Cut(rest, "</template>")
	require.True(t, found)
	zipped, err := base64.StdEncoding.DecodeString(text)
	require.NoError(t, err)
	zip, err := gzip.NewReader(bytes.NewReader(zipped))
	require.NoError(t, err)
	b, err := io.ReadAll(zip)
	require.NoError(t, err)

	varint := func(b *[]byte) uint64 {
		v, n := binary.Uvarint(*b)
		require.Positive(t, n)
		*b = (*b)[n:]
		return v
	}
	part := func() []byte {
		n := varint(&b)
		p := b[:n]
		b = b[n:]
		return p
	}
	column := func() (all []uint64) {
		for p := part(); len(p) > 0; {
			all = append(all, varint(&p))
		}
		return all
	}
	var d decoded
	require.NoError(t, json.Unmarshal(part(), &d.head))
	texts := d.head.Texts

	at, machines, processes, kinds, sizes, fields, marks := column(), column(), column(), column(), column(), column(), column()
	d.marks = marks
	now := time.Duration(0)
	for i := range at {
		now += time.Duration(at[i])
		who := "world"
		if m := machines[i]; m > 0 {
			who = d.head.Machines[m-1].Name
		}
		e := fmt.Sprintf("%s %s/%s %s", now, who, texts[processes[i]], texts[kinds[i]])
		for range sizes[i] {
			e += fmt.Sprintf(" %s=%s", texts[fields[0]], texts[fields[1]])
			fields = fields[2:]
		}
		d.events = append(d.events, e)
	}
	require.Empty(t, fields)

	names, numbers, froms, tos := column(), column(), column(), column()
	at, conns, what, bytes, causes, took := column(), column(), column(), column(), column(), column()
	var moments []time.Duration
	now = 0
	for i := range at {
		now += time.Duration(at[i])
		moments = append(moments, now)
		var sent time.Duration
		if causes[i] > 0 {
			sent = moments[uint64(i)-causes[i]]
		} else {
			sent = now - time.Duration(took[0])
			took = took[1:]
		}
		c := conns[i]
		d.messages = append(d.messages, fmt.Sprintf("%s-%s %s %s%d %s>%s %d", sent, now, texts[what[i]], texts[names[c]], numbers[c],
			d.head.Machines[froms[c]].Name, d.head.Machines[tos[c]].Name, int(bytes[i])-1))
	}
	require.Empty(t, took)
	for range d.head.Machines {
		d.counts = append(d.counts, column())
	}
	require.Empty(t, b)
	return d
}
