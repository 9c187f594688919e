"""The published models, measured on the published code: parameters, the same after folding BatchNorm, MACs."""

PUBLISHED = {
    "swin_t": (28288354, 28288354, 4490566656),
    "swin_s": (49606258, 49606258, 8740875264),
    "swin_b": (87768224, 87768224, 15430946816),
    "shvit_s1": (6330808, 6308660, 241320768),
    "shvit_s2": (11483072, 11453508, 365394896),
    "shvit_s3": (14245273, 14210010, 600570164),
    "shvit_s4": (16588484, 16546248, 986216960),
    "deit_ti": (5717032, 5717032, 1246563840),
    "deit_s": (22049896, 22049896, 4574026752),
}
