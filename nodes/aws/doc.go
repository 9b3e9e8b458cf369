// Package aws gives nodes what they need of Amazon's cloud, through its SDK:
// [nodes.Blobs] on S3, [nodes.Balancer] on Elastic Load Balancing and
// [nodes.Scaler] on Auto Scaling, or on whatever speaks their protocols at another
// endpoint.
//
// It promises that nothing is read from the environment or from files, that the
// network, the clocks and the randomness of the SDK are the Machine's, and that
// no request which may have been carried out is sent again unless it only
// reads. So a failed write says conflict only if S3 did, and the process that
// wrote can tell by reading back whether it was its own write that was in the
// way. Start reading at NewBlobs and NewBalancer.
package aws
