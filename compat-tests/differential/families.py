"""The commands that each family sends, as templates (see `grammar`); words with `@` are steps of the runner."""

from grammar import parse

# Commands whose reply is random: the runner checks them by membership and brings both servers to one state again.
RANDOM = """
SPOP SRANDMEMBER HRANDFIELD ZRANDMEMBER RANDOMKEY
""".split()

BLOCKING = ("BLPOP", "BRPOP", "BLMOVE", "BLMPOP", "BZPOP", "BZMPOP")

FAMILIES = {
    "string": """
        SET $t $v [{NX|XX}] [GET] [{EX $T|PX $A|EXAT $A|KEEPTTL}]
        SET $t $v {EX|PX|EXAT|PXAT} $X
        SET $t $v
        SET $t $I
        SET $t $d
        GET $t
        GET $a
        GETSET $t $v
        GETDEL $t
        GETEX $t [{EX $T|PX $A|EXAT $A|PXAT $A|PERSIST}]
        GETRANGE $t $i $i
        SUBSTR $t $i $i
        SETRANGE $t $O $v
        SETRANGE $t {-1|536870912|$I} $v
        APPEND $t $v
        STRLEN $t
        INCR $t
        DECR $t
        INCRBY $t $I
        DECRBY $t $I
        INCRBYFLOAT $t $d
        INCRBYFLOAT $t $x
        MGET <$a>
        MSET <$t $v>
        MSETNX <$t $v>
        SETNX $t $v
        SETEX $t $T $v
        PSETEX $t $A $v
        SETEX $t $X $v
        LCS $t $t [LEN] [IDX] [MINMATCHLEN $n] [WITHMATCHLEN]
        OBJECT ENCODING $t
        @restore $t
    """,
    "bitmap": """
        SETBIT $b $o $1
        SETBIT $b {-1|4294967296|4294967295000|abc} $1
        GETBIT $b $o
        GETBIT $b $I
        SET $b $v
        BITCOUNT $b
        BITCOUNT $b $i $i [{BYTE|BIT}]
        BITPOS $b $1 [$i [$i [{BYTE|BIT}]]]
        BITOP {AND|OR|XOR} $b <$b>
        BITOP NOT $b $b
        BITOP NOT $b <$b>
        BITFIELD $b <{GET $y $o|SET $y $o $I|INCRBY $y $o $I|GET $y #$N|OVERFLOW {WRAP|SAT|FAIL}}>
        BITFIELD $b OVERFLOW {WRAP|SAT|FAIL} <{SET $y $o $I|INCRBY $y $o $I}>
        BITFIELD $b GET {u64|i65|u0|x8|i64} $o
        BITFIELD_RO $b <GET $y $o>
        BITFIELD_RO $b SET $y $o $I
        STRLEN $b
        GET $b
        @restore $b
    """,
    "hash": """
        HSET $h <$f $v>
        HSET $h <$f $v>
        HMSET $h <$f $v>
        HSETNX $h $f $v
        HGET $h $f
        HMGET $h <$f>
        HDEL $h <$f>
        HLEN $h
        HSTRLEN $h $f
        HEXISTS $h $f
        HKEYS $h
        HVALS $h
        HGETALL $h
        HINCRBY $h $f $I
        HINCRBYFLOAT $h $f $d
        HINCRBYFLOAT $h $f {inf|nan|abc|$x}
        HRANDFIELD $h [$i [WITHVALUES]]
        @scan HSCAN $h [MATCH $pat] [COUNT $N]
        CONFIG SET hash-max-listpack-entries $small
        CONFIG SET hash-max-listpack-value $small
        OBJECT ENCODING $h
        DEL $h
        @restore $h
    """,
    "list": """
        LPUSH $l <$m>
        RPUSH $l <$m>
        RPUSH $l <$m>
        LPUSHX $l <$m>
        RPUSHX $l <$m>
        LPOP $l [$n]
        RPOP $l [$n]
        LLEN $l
        LRANGE $l $i $i
        LRANGE $l 0 -1
        LINDEX $l $i
        LSET $l $i $m
        LINSERT $l {BEFORE|AFTER} $m $m
        LREM $l $i $m
        LTRIM $l $i $i
        LPOS $l $m [RANK $i] [COUNT $n] [MAXLEN $n]
        RPOPLPUSH $l $l
        LMOVE $l $l {LEFT|RIGHT} {LEFT|RIGHT}
        LMPOP {1|2|3|0|-1} <$l> {LEFT|RIGHT} [COUNT $n]
        LMPOP 2 $l $l {LEFT|RIGHT} [COUNT $N]
        BLPOP <$l> 0.01
        BRPOP <$l> 0.01
        BLMOVE $l $l {LEFT|RIGHT} {LEFT|RIGHT} 0.01
        BRPOPLPUSH $l $l 0.01
        BLMPOP 0.01 2 $l $l {LEFT|RIGHT} [COUNT $N]
        BLPOP $l {-1|abc|1e100}
        CONFIG SET list-max-listpack-size {-2|4|16|-1}
        RPUSH $l $big
        OBJECT ENCODING $l
        DEL $l
        @restore $l
    """,
    "set": """
        SADD $s <$e>
        SADD $s <$m>
        SREM $s <$e>
        SISMEMBER $s $e
        SMISMEMBER $s <$e>
        SMEMBERS $s
        SCARD $s
        SMOVE $s $s $e
        SPOP $s [$n]
        SRANDMEMBER $s [$i]
        SINTER <$s>
        SUNION <$s>
        SDIFF <$s>
        SINTERSTORE $s <$s>
        SUNIONSTORE $s <$s>
        SDIFFSTORE $s <$s>
        SINTERCARD {1|2|3|0|-1} <$s> [LIMIT $n]
        SINTERCARD 2 $s $s [LIMIT $n]
        @scan SSCAN $s [MATCH $pat] [COUNT $N]
        CONFIG SET set-max-intset-entries $small
        OBJECT ENCODING $s
        DEL $s
        @restore $s
    """,
    "zset": """
        ZADD $z <$x $m>
        ZADD $z [{NX|XX}] [{GT|LT}] [CH] [INCR] <$x $m>
        ZADD $z [{NX|XX}] [CH] INCR $x $m
        ZADD $z 0 $m 0 $m 0 $m
        ZINCRBY $z $x $m
        ZREM $z <$m>
        ZSCORE $z $m
        ZMSCORE $z <$m>
        ZCARD $z
        ZCOUNT $z $r $r
        ZLEXCOUNT $Z $q {$q|$v}
        ZRANK $z $m
        ZREVRANK $z $m
        ZRANGE $z $i $i [REV] [WITHSCORES]
        ZRANGE $z $r $r BYSCORE [REV] [LIMIT $i $i] [WITHSCORES]
        ZRANGE $Z $q $q BYLEX [REV] [LIMIT $i $i]
        ZREVRANGE $z $i $i [WITHSCORES]
        ZRANGEBYSCORE $z $r $r [WITHSCORES] [LIMIT $i $i]
        ZREVRANGEBYSCORE $z $r $r [WITHSCORES] [LIMIT $i $i]
        ZRANGEBYLEX $Z $q $q [LIMIT $i $i]
        ZREVRANGEBYLEX $Z {$q|$v} $q [LIMIT $i $i]
        ZRANGEBYLEX $s - +
        ZADD $Z <0 $m>
        ZADD $Z <0 $m>
        @restore $Z
        ZRANGESTORE $z $z $i $i [REV]
        ZRANGESTORE $z $z $r $r BYSCORE [REV] [LIMIT $i $i]
        ZREMRANGEBYRANK $z $i $i
        ZREMRANGEBYSCORE $z $r $r
        ZREMRANGEBYLEX $Z $q $q
        ZPOPMIN $z [$n]
        ZPOPMAX $z [$n]
        ZMPOP {1|2|0} $z $z {MIN|MAX} [COUNT $n]
        ZMPOP 2 $z $z {MIN|MAX} [COUNT $N]
        BZPOPMIN <$z> 0.01
        BZPOPMAX <$z> 0.01
        BZMPOP 0.01 2 $z $z {MIN|MAX} [COUNT $N]
        ZUNION 2 {$z|$s} $z [WEIGHTS $w $w] [AGGREGATE {SUM|MIN|MAX}] [WITHSCORES]
        ZINTER 2 {$z|$s} $z [WEIGHTS $w $w] [AGGREGATE {SUM|MIN|MAX}] [WITHSCORES]
        ZDIFF 2 $z {$z|$s} [WITHSCORES]
        ZUNIONSTORE $z 2 $z $z [WEIGHTS $w {$w|abc}] [AGGREGATE {SUM|MIN|MAX}]
        ZINTERSTORE $z 2 $z $z [WEIGHTS $w $w] [AGGREGATE {SUM|MIN|MAX}]
        ZDIFFSTORE $z 2 $z $z
        ZINTERCARD {1|2|0} $z $z [LIMIT $n]
        ZINTERCARD 2 $z $z [LIMIT $i]
        ZRANDMEMBER $z [$i [WITHSCORES]]
        @scan ZSCAN $z [MATCH $pat] [COUNT $N]
        CONFIG SET zset-max-listpack-entries $small
        CONFIG SET zset-max-listpack-value $small
        SADD $s <$m>
        OBJECT ENCODING $z
        DEL $z
        @restore $z
    """,
    "hyperloglog": """
        PFADD $p <$v>
        PFADD $p $f $m $e $c $v
        PFADD $p
        PFCOUNT <$p>
        PFCOUNT $p
        PFMERGE $p <$p>
        SET $p $v
        CONFIG SET hll-sparse-max-bytes {0|30|3000}
        GET $p
        DEL $p
        @restore $p
    """,
    "geo": """
        GEOADD $g [{NX|XX}] [CH] <$lon $lat $c>
        GEOADD $g <$lon $lat $c>
        GEOADD $g <$Lon $Lat $c>
        GEOADD $g {200|-181|abc} $lat $c
        GEODIST $g $c $c [{m|km|ft|mi|parsec}]
        GEOHASH $g <$c>
        GEOPOS $g <$c>
        GEOSEARCH $g FROMLONLAT $lon $lat BYRADIUS $D km [{ASC|DESC}] [WITHCOORD] [WITHDIST] [WITHHASH]
        GEOSEARCH $g FROMLONLAT $lon $lat BYRADIUS $D {m|mi|ft|km} {ASC|DESC} COUNT $N [WITHCOORD] [WITHDIST] [WITHHASH]
        GEOSEARCH $g FROMMEMBER $c BYBOX $D $D km {ASC|DESC} [COUNT $N] [WITHCOORD] [WITHDIST]
        GEOSEARCH $g FROMMEMBER $c BYBOX $D {$D|-1|abc} {km|xx} [WITHDIST]
        GEOSEARCHSTORE $g $g FROMMEMBER $c BYRADIUS $D km {ASC|DESC} [COUNT $N] [STOREDIST]
        GEOSEARCHSTORE $g $g FROMLONLAT $lon $lat BYBOX $D $D km [STOREDIST]
        GEORADIUS $g $lon $lat $D km [WITHCOORD] [WITHDIST] [WITHHASH] {ASC|DESC} [COUNT $N]
        GEORADIUS $g $lon $lat $D km [{STORE|STOREDIST} $g] [ASC]
        GEORADIUS_RO $g $lon $lat $D km [WITHDIST] ASC
        GEORADIUSBYMEMBER $g $c $D km [WITHDIST] {ASC|DESC} [COUNT $N]
        GEORADIUSBYMEMBER $g $c $D km STORE $g
        GEORADIUSBYMEMBER_RO $g $c $D mi [WITHCOORD] DESC
        ZRANGE $g 0 -1 WITHSCORES
        ZREM $g $c
        @restore $g
    """,
    "generic": """
        SET $t $v
        RPUSH $l $m
        SADD $s $m
        HSET $h $f $v
        ZADD $z $x $m
        PFADD $p $v
        DEL <$a>
        UNLINK <$a>
        EXISTS <$a>
        TOUCH <$a>
        TYPE $a
        RENAME $a $a
        RENAMENX $a $a
        COPY $a $a [DB $db] [REPLACE]
        MOVE $a $db
        EXPIRE $a $T [{NX|XX|GT|LT}]
        PEXPIRE $a $A [{NX|XX|GT|LT}]
        EXPIREAT $a $A [{NX|XX|GT|LT} [{NX|XX|GT|LT}]]
        PEXPIREAT $a {$ms|1} [{NX|XX|GT|LT}]
        EXPIRE $a {$X|abc}
        PEXPIRE $a $X
        PERSIST $a
        TTL $a
        PTTL $a
        EXPIRETIME $a
        PEXPIRETIME $a
        KEYS $pat
        DBSIZE
        RANDOMKEY
        OBJECT ENCODING $a
        OBJECT {FREQ|HELP|nosuch} $a
        @scan SCAN [MATCH $pat] [COUNT $N] [TYPE {string|hash|list|set|zset|nosuch}]
        SELECT $db
        SELECT {-1|16|abc}
        SWAPDB $db $db
        FLUSHDB {ASYNC|SYNC|abc}
        ECHO $v
        PING [$v]
        DUMP nosuch
        RESTORE $a {0|-1|$T} {$v|} [REPLACE] [ABSTTL] [IDLETIME $I] [FREQ $I]
        WAIT 0 0
        @restore $a
    """,
    # BY and ALPHA never together: elements whose strings to sort by are both missing come in an undefined order.
    "sort": """
        RPUSH $l <$I>
        RPUSH $l <$m>
        SADD $s <$e>
        ZADD $z <$x $e>
        MSET w_$e $I w_$e $I w_$m $v
        HSET h0 f$e $I f$m $v
        SORT $l {BY $by|ALPHA|} [LIMIT $i $i] [{ASC|DESC}]
        SORT $s [LIMIT $i $n] {ASC|DESC} ALPHA
        SORT $s [BY w_*] {ASC|DESC}
        SORT $z [LIMIT $n $n] {ASC|DESC} [ALPHA]
        SORT {$h|$t} ALPHA DESC
        SORT $z BY nosort [LIMIT $n $n] [DESC]
        SORT $l {BY $by|ALPHA|} <GET {#|w_*|h0->f*|nosuch_*}> [{ASC|DESC}]
        SORT $l {BY $by|ALPHA|} [LIMIT $n $n] STORE $l
        SORT_RO $l {BY $by|ALPHA|} [LIMIT $n $n]
        SORT_RO $l ALPHA STORE $l
        DEL $a
        OBJECT ENCODING $l
        @restore $l
    """,
    "multi": """
        MULTI
        MULTI
        EXEC
        EXEC
        EXEC
        DISCARD
        WATCH <$a>
        UNWATCH
        RESET
        nosuchcommand $v
        SUBSCRIBE
        CLIENT {GETNAME|SETNAME $f|NOSUCH|ID|NO-EVICT {on|off}}
        COMMAND {COUNT $v|GETKEYS SET $t $v|GETKEYSANDFLAGS LMOVE $l $l LEFT LEFT|GETKEYS GET|NOSUCH}
        COMMAND GETKEYS {ZUNIONSTORE $z 2 $z $z|SORT $l STORE $l|PING|MSET $t $v $t $v|BLMPOP 0 1 $l LEFT}
        CONFIG GET {hash-max-listpack-*|maxmemory-policy|nosuch|maxmemory}
        CONFIG SET {hash-max-listpack-entries abc|maxmemory-policy nosuch|nosuch 1|maxmemory -1}
        PUBLISH $f $v
        PUBSUB {CHANNELS|NUMSUB $f|NUMPAT|SHARDCHANNELS|SHARDNUMSUB|NOSUCH}
        FLUSHALL {SYNC|abc}
        BLPOP $l 0.01
        BLMOVE $l $l LEFT RIGHT 0.01
        BZPOPMIN $z 0.01
    """,
}

# A transaction may contain anything of the other families; random replies cannot be checked inside one.
MIXED = ("string", "hash", "list", "set", "zset", "generic")


def templates(family: str) -> list:
    """The parsed templates of a family; those that may wait for a timeout come less often."""
    lines = [line.strip() for line in FAMILIES[family].splitlines() if line.strip()]
    if family == "multi":
        for other in MIXED:
            lines += [line.strip() for line in FAMILIES[other].splitlines() if line.strip()]
        lines = [line for line in lines if not line.startswith("@") and line.split()[0] not in RANDOM]
        lines += ["MULTI", "EXEC", "EXEC"] * 8
    quick = [line for line in lines if not line.startswith(BLOCKING)]
    return [parse(line) for line in quick * 6 + [line for line in lines if line.startswith(BLOCKING)]]
