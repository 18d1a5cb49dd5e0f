"""The architecture as AWS has it: what is drawn where, and which resources each box stands for."""

from __future__ import annotations

from typing import Final

from deploy.diagram.elements import Arrow, Box, Frame, Picture

SIZE: Final = (1720.0, 1250.0)
ZONES: Final = (("a", 640.0), ("b", 905.0), ("c", 1170.0))  # middle of each zone's column
BAR_X: Final = 530.0  # what stands in all three zones
BAR_W: Final = 750.0

FRAMES: Final = (
    Frame(
        "AWS · one account · one region", (212, 20), (1488, 1090), "region", shows=("Registry/S3::Bucket/Templates",)
    ),
    Frame(
        "VPC · private subnets only",
        (452, 84),
        (880, 734),
        "vpc",
        shows=(
            "Network/EC2::VPC",
            "Network/EC2::FlowLog",
            "Network/SSM::Association",
            "Network/EC2::InternetGateway",
            "Network/EC2::VPCGatewayAttachment",
            "Cluster/ECS::Cluster",
            "Cluster/ECS::ClusterCapacityProviderAssociations",
            "Cluster/ServiceDiscovery::HttpNamespace",
        ),
    ),
    *(
        Frame(f"zone {name}", (centre - 127, 118), (254, 684), "zone", shows=("Network/EC2::Subnet",))
        for name, centre in ZONES
    ),
    Frame("BYTES AND EVENTS · no server on their way in", (236, 846), (1096, 248), "lane", title_at=(978, 1074)),
)

CLIENT: Final = Box("clients", ("browsers, apps,", "servers"), (24, 250), (158, 92), "outside", "client")

EDGE: Final = (
    Box(
        "WAF",
        ("managed rules,", "rate by address"),
        (240, 104),
        (182, 80),
        "aws",
        "shield",
        shows=(
            "Edge/WAFv2::WebACL",
            "Edge/WAFv2::WebACLAssociation",
            "Edge/WAFv2::LoggingConfiguration",
        ),
    ),
    Box(
        "API Gateway",
        ("keys, plans, throttle,", "redacted access log"),
        (240, 250),
        (182, 92),
        "aws",
        "door",
        shows=(
            "Edge/ApiGateway::RestApi",
            "Edge/ApiGateway::Deployment",
            "Edge/ApiGateway::Stage",
            "Edge/ApiGateway::UsagePlan",
            "Edge/ApiGateway::Account",
        ),
    ),
    Box(
        "VPC link v2",
        ("no public way in",),
        (240, 408),
        (182, 60),
        "aws",
        "link",
        shows=("Edge/ApiGatewayV2::VpcLink",),
    ),
)

IN_VPC: Final = (
    Box(
        "Application Load Balancer",
        ("internal · TLS in prod · two target groups for blue/green",),
        (BAR_X, 150),
        (BAR_W, 56),
        "aws",
        "balance",
        shows=(
            "Services/ElasticLoadBalancingV2::LoadBalancer",
            "Services/ElasticLoadBalancingV2::TargetGroup",
            "Services/ElasticLoadBalancingV2::Listener",
            "Services/ElasticLoadBalancingV2::ListenerRule",
            "Services/S3::Bucket/BalancerAccessLogs",
        ),
    ),
    Box(
        "gateway",
        ("HTTP, keys, limits, problem+json · Fargate ARM64 · blue/green · target tracking",),
        (BAR_X, 240),
        (BAR_W, 84),
        "service",
        "service",
        chips=tuple((centre, "task") for _, centre in ZONES),
        shows=(
            "Services/ECS::Service/gateway",
            "Services/ECS::TaskDefinition/gateway",
            "Services/Lambda::Function/RolloutProbe",
        ),
    ),
    Box(
        "presign_svc",
        ("signs tickets and downloads, holds no state · ARM64 · blue/green",),
        (BAR_X, 358),
        (BAR_W, 84),
        "service",
        "service",
        chips=tuple((centre, "task") for _, centre in ZONES),
        shows=(
            "Services/ECS::Service/presignsvc",
            "Services/ECS::TaskDefinition/presignsvc",
        ),
    ),
    Box(
        "metadata_svc",
        ("images, tenants, the state machine, the outbox · ARM64 · blue/green",),
        (BAR_X, 476),
        (BAR_W, 84),
        "service",
        "service",
        chips=tuple((centre, "task") for _, centre in ZONES),
        shows=(
            "Services/ECS::Service/metadatasvc",
            "Services/ECS::TaskDefinition/metadatasvc",
            "Cluster/ECS::TaskDefinition",
        ),
    ),
    Box(
        "Aurora PostgreSQL",
        ("Serverless v2 · storage in three zones · backups",),
        (BAR_X, 594),
        (BAR_W, 84),
        "data",
        "database",
        chips=((ZONES[0][1], "writer"), (ZONES[1][1], "reader, fails over")),
        shows=(
            "Database/RDS::DBCluster",
            "Database/RDS::DBInstance",
            "Database/RDS::DBSubnetGroup",
            "Database/RDS::DBClusterParameterGroup",
        ),
    ),
    Box(
        "image_svc",
        ("SQS worker and sandbox · X86_64 · backlog per task · month-end schedule",),
        (BAR_X, 712),
        (BAR_W, 84),
        "service",
        "spin",
        chips=((ZONES[0][1], "task on demand"), (ZONES[1][1], "task on Spot"), (ZONES[2][1], "task on Spot")),
        shows=(
            "Services/ECS::Service/imagesvc",
            "Services/ECS::TaskDefinition/imagesvc",
        ),
    ),
)

DATA: Final = (
    Box(
        "S3 incoming",
        ("create-only, originals", "private, encrypted"),
        (256, 896),
        (196, 80),
        "data",
        "bucket",
        shows=("Core/S3::Bucket/BucketsIncoming",),
    ),
    Box(
        "SQS images",
        ("20 receives, 4 days",),
        (560, 904),
        (196, 64),
        "aws",
        "queue",
        shows=("Core/SQS::Queue/QueuesQueue",),
    ),
    Box(
        "SQS dead letters",
        ("14 days, redrive",),
        (560, 1000),
        (196, 58),
        "aws",
        "dead",
        shows=("Core/SQS::Queue/QueuesDead",),
    ),
    Box(
        "S3 media",
        ("derivatives: no EXIF,", "no GPS, signed reads"),
        (830, 896),
        (196, 80),
        "data",
        "bucket",
        shows=("Core/S3::Bucket/BucketsMedia",),
    ),
    Box("SNS events", ("image.ready, …",), (1110, 904), (196, 64), "aws", "topic", shows=("Core/SNS::Topic/Events",)),
)

BESIDE: Final = (
    Box(
        "Secrets Manager",
        ("three database roles, rotated",),
        (1410, 84),
        (266, 62),
        "aws",
        "key",
        shows=(
            "Core/SecretsManager::Secret",
            "Database/SecretsManager::SecretTargetAttachment",
            "Database/SecretsManager::RotationSchedule",
        ),
    ),
    Box(
        "Parameter Store",
        ("every plain value, once",),
        (1410, 166),
        (266, 62),
        "aws",
        "list",
        shows=("*/SSM::Parameter",),
    ),
    Box(
        "ECR",
        ("immutable tags, scanned, signed",),
        (1410, 248),
        (266, 62),
        "aws",
        "images",
        shows=(
            "Registry/ECR::Repository",
            "Registry/ECR::RegistryScanningConfiguration",
            "Registry/ECR::SigningConfiguration",
            "Registry/Signer::SigningProfile",
        ),
    ),
    Box(
        "CloudWatch",
        ("logs, alarms, Container Insights",),
        (1410, 330),
        (266, 62),
        "aws",
        "chart",
        shows=(
            "*/Logs::LogGroup",
            "*/CloudWatch::Alarm",
            "Services/Events::Rule",
        ),
    ),
    Box(
        "SNS alarms",
        ("to whoever is on call",),
        (1410, 412),
        (266, 62),
        "aws",
        "bell",
        shows=("Core/SNS::Topic/Alarms",),
    ),
    Box(
        "Auto Scaling",
        ("targets, backlog, month-end steps",),
        (1410, 494),
        (266, 62),
        "aws",
        "spin",
        shows=(
            "Services/ApplicationAutoScaling::ScalableTarget",
            "Services/ApplicationAutoScaling::ScalingPolicy",
        ),
    ),
    Box(
        "EventBridge Scheduler",
        ("Aurora's ACU, reconciler, pruning",),
        (1410, 576),
        (266, 62),
        "aws",
        "clock",
        shows=(
            "Services/Scheduler::Schedule",
            "Services/Scheduler::ScheduleGroup",
            "Services/SQS::Queue/SchedulesDead",
            "Services/ECS::TaskDefinition/Maintenance",
        ),
    ),
    Box(
        "VPC endpoints",
        ("S3 gateway; one a service, or NAT",),
        (1410, 658),
        (266, 62),
        "aws",
        "plug",
        shows=(
            "Network/EC2::VPCEndpoint",
            "Network/EC2::NatGateway",
            "Network/EC2::EIP",
        ),
    ),
)

OUTSIDE: Final = Box(
    "subscribers", ("your own systems: SQS,", "HTTPS, Lambda"), (1410, 896), (266, 80), "outside", "topic"
)

ARROWS: Final = (
    Arrow(((182, 296), (240, 296)), number=1, number_at=(208, 296)),
    Arrow(((331, 184), (331, 250)), "quiet"),
    Arrow(((331, 342), (331, 408)), number=2, number_at=(331, 372)),
    Arrow(((422, 438), (480, 438), (480, 178), (BAR_X, 178))),
    Arrow(((905, 206), (905, 240))),
    Arrow(((1280, 282), (1308, 282), (1308, 504), (1280, 504)), number=3, number_at=(1308, 400)),
    Arrow(((772, 324), (772, 358)), number=4, number_at=(800, 341)),
    Arrow(((772, 560), (772, 594))),
    Arrow(((130, 342), (130, 936), (256, 936)), "bytes", number=5, number_at=(130, 640)),
    Arrow(((452, 936), (560, 936)), "event", number=6, number_at=(502, 936)),
    Arrow(((658, 904), (658, 796)), "event", number=7, number_at=(658, 852)),
    Arrow(((354, 896), (354, 774), (BAR_X, 774)), "bytes", number=8, number_at=(430, 774)),
    Arrow(((928, 796), (928, 896)), "bytes", number=9, number_at=(928, 840)),
    Arrow(((BAR_X, 738), (502, 738), (502, 518), (BAR_X, 518)), number=10, number_at=(502, 636)),
    Arrow(((1280, 536), (1358, 536), (1358, 872), (1208, 872), (1208, 904)), "event", number=11, number_at=(1358, 780)),
    Arrow(((1306, 936), (1410, 936)), "event"),
    Arrow(((658, 968), (658, 1000)), "quiet"),
    Arrow(((928, 976), (928, 1078), (76, 1078), (76, 342)), "bytes", number=12, number_at=(76, 700)),
    Arrow(((1410, 689), (1332, 689)), "quiet", both=True),
)

STEPS: Final = (
    "The client asks for an upload ticket: POST /v1/images.",
    "API Gateway checks key and rate; the VPC link is the way in.",
    "gateway registers the image with metadata_svc, in Aurora.",
    "presign_svc signs a ticket for exactly these bytes, once.",
    "The client puts the bytes straight into S3.",
    "S3 tells the queue, at least once.",
    "A worker of image_svc with a free slot receives.",
    "It reads the original and decodes it in a sandbox.",
    "It writes the derivatives, made of pixels alone.",
    "It records the result, fenced, then deletes the message.",
    "The outbox tells the world: image.ready.",
    "The client fetches variants by signed URLs.",
)

PICTURE: Final = Picture(
    "Darkroom on AWS",
    "Clients reach API Gateway behind WAF; a VPC link leads to an internal load balancer and four Fargate services in "
    "private subnets of three zones, with Aurora PostgreSQL. File bytes go from the client straight to S3; S3 tells "
    "SQS, and image_svc reads, develops and writes derivatives.",
    SIZE,
    FRAMES,
    (CLIENT, *EDGE, *IN_VPC, *DATA, *BESIDE, OUTSIDE),
    ARROWS,
    STEPS,
    (250, 560),
)
