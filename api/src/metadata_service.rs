//! The metadata services of clouds, which describe a machine and hand out its credentials to everything that runs on it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses of metadata services, and of other endpoints of the cloud itself on its machines.
pub const METADATA_ADDRESSES: [IpAddr; 14] = [
    // AWS EC2, Google Cloud, Azure, Oracle, OpenStack, DigitalOcean and others.
    // https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
    v4(169, 254, 169, 254),
    v6(0xfd00, 0xec2, 0, 0, 0x254),
    // AWS ECS, for the credentials of tasks. https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
    v4(169, 254, 170, 2),
    // AWS EKS, for those of pods. https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html
    v4(169, 254, 170, 23),
    v6(0xfd00, 0xec2, 0, 0, 0x23),
    // Google Cloud. https://cloud.google.com/compute/docs/metadata/querying-metadata
    v6(0xfd20, 0xce, 0, 0, 0x254),
    // Azure's WireServer. https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
    v4(168, 63, 129, 16),
    // Alibaba Cloud. https://www.alibabacloud.com/help/ecs/user-guide/view-instance-metadata
    v4(100, 100, 100, 200),
    v6(0xfd00, 0x100, 0, 0x100, 0x200),
    // Oracle Cloud. https://docs.oracle.com/iaas/Content/Compute/Tasks/gettingmetadata.htm
    v6(0xfd00, 0xc1, 0, 0xa9fe, 0xa9fe),
    // Oracle Cloud Infrastructure Classic.
    v4(192, 0, 0, 192),
    // OpenStack. https://docs.openstack.org/nova/latest/user/metadata.html
    v6(0xfe80, 0, 0, 0xa9fe, 0xa9fe),
    // Scaleway. https://www.scaleway.com/en/docs/instances/how-to/use-metadata/
    v4(169, 254, 42, 42),
    v6(0xfd00, 0x42, 0, 0, 0x42),
];

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

/// The first two groups and the last three.
const fn v6(a: u16, b: u16, f: u16, g: u16, h: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(a, b, 0, 0, 0, f, g, h))
}
