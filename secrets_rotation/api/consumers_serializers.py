"""The border of consumers: a destination's secret settings cross it inwards only."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from rest_framework import serializers

from secrets_rotation.api.rotation_serializers import Moment
from secrets_rotation.models import Acknowledgement, Consumer, Delivery


class NewConsumerSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=100)
    delivery = serializers.CharField(
        max_length=50, default="none", help_text="How it gets a new version."
    )
    destination = serializers.DictField(default=dict, help_text="The settings of the delivery.")
    serviceAccount = serializers.SlugRelatedField(
        source="service_account",
        slug_field="username",
        queryset=User.objects.filter(is_active=True),
        allow_null=True,
        default=None,
        help_text="The account that acknowledges for it.",
    )


class DeliverySerializer(serializers.Serializer[Delivery]):
    version = serializers.IntegerField(source="version.number")
    state = serializers.CharField()
    attempts = serializers.IntegerField()
    deliveredAt = Moment(source="delivered_at", allow_null=True)
    error = serializers.CharField()


class AcknowledgementSerializer(serializers.Serializer[Acknowledgement]):
    version = serializers.IntegerField(source="version.number", min_value=1)
    at = Moment(read_only=True)
    actor = serializers.CharField(read_only=True)


class ConsumerSerializer(serializers.Serializer[Consumer]):
    id = serializers.IntegerField(source="pk")
    name = serializers.CharField()
    delivery = serializers.CharField()
    destination = serializers.DictField(help_text="Without its secret settings.")
    serviceAccount = serializers.CharField(
        source="service_account.username", default=None, allow_null=True
    )
    deliveries = DeliverySerializer(many=True)
    acknowledgements = AcknowledgementSerializer(many=True)


class ConsumerListSerializer(serializers.Serializer[Any]):
    consumers = ConsumerSerializer(many=True)
