package scenarios

import (
	"fmt"
	"slices"

	monitorsms "github.com/espra/protoplex/monitor/sms"
	"github.com/espra/protoplex/scenarios/story"
)

// The SMS gateways of the simulated world, what their customers know of them,
// and the zones with their names: Twilio's somewhere of its own, Amazon's in
// each region.

const (
	twilioAccount = "AC00000000000000000000000000000001"
	twilioToken   = "the account's token"
	twilioFile    = "/etc/twilio" // on the VPSes, with the token
	smsFrom       = "+15550100"
	snsAccount    = "AKIDPAGER:the pager's secret"
	snsFile       = "/etc/sns" // on the VPSes, with the account
)

func twilioArgs() []string {
	return []string{"--account", twilioAccount, "--token", twilioToken, "--from", smsFrom}
}

func snsArgs(region string) []string {
	return []string{"--region", awsRegion(region), "--key", snsAccount, "--spending", "1000"}
}

func (p *platform) snsAPIs() []story.Machine {
	return p.with(story.RoleAPI, func(m story.Machine) bool { return m.Provider == "sns" })
}

// smsProviders are those that the vantages ask, in the order of the topology.
func (p *platform) smsProviders() []monitorsms.Provider {
	var all []monitorsms.Provider
	for _, name := range p.story.Topology.SMS {
		if name == "twilio" {
			all = append(all, monitorsms.Provider{Kind: monitorsms.KindTwilio, URL: "https://api.twilio.com",
				Account: twilioAccount, Token: twilioFile, From: smsFrom})
			continue
		}
		for _, api := range p.snsAPIs() {
			all = append(all, monitorsms.Provider{Kind: monitorsms.KindSNS, Region: awsRegion(api.Region), Credentials: snsFile})
		}
	}
	return all
}

// phone is the number of an admin.
func (p *platform) phone(admin string) string {
	return fmt.Sprintf("+1555020%d", 1000+slices.Index(p.story.Topology.AdminNames(), admin))
}

func (p *platform) twilioZone() string {
	z := newZone("twilio.com", "com-1")
	z.add("@", 3600, "NS", "com-1.")
	if m := p.hosts["twilio-api"]; m != nil {
		z.add("api", 300, "A", m.Addr().String())
	}
	return z.String()
}

// awsDomain is where Amazon serves a region.
func awsDomain(region string) string { return awsRegion(region) + ".amazonaws.com" }
