// The ordinary command is a program that is no test and runs a world.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/espra/protoplex/sim"
)

func main() {
	loud := flag.Bool("loud", false, "say more")
	flag.Parse()
	var trace bytes.Buffer
	broken := errors.New("the story broke")
	result, err := sim.Run(sim.Options{Seed: 3, Trace: &trace}, func(w *sim.World) error {
		fmt.Println("inside")
		server, client := w.NewMachine("server"), w.NewMachine("client")
		if _, err := server.Listen("tcp", ":80"); err != nil {
			return err
		}
		if _, err := client.DialContext(context.Background(), "tcp", "server:80"); err != nil {
			return err
		}
		client.Console().Emit("dialled")
		time.Sleep(time.Minute)
		if flag.Arg(0) == "leak" {
			go func() { select {} }()
		}
		return broken
	})
	fmt.Println(err == broken || errors.Is(err, broken), len(result.Trace), len(result.Leaks), result.Stats.Events,
		result.Stats.Deliveries > 0, result.Simulated > time.Minute, result.Wall > 0, bytes.Count(trace.Bytes(), []byte("\n")))
	_, err = sim.Run(sim.Options{}, func(w *sim.World) error { return nil })
	fmt.Println(err)
	fmt.Println(*loud, flag.Args())
	os.Exit(7)
}
